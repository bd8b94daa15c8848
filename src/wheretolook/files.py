"""Files are written whole or not at all: beside the old one first, then in its place."""

import json
import math
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from wheretolook.errors import ConfigError, DataError, reason, unwritable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary path; once the block ends well it takes the place of `path`, otherwise it is removed.

    Only write inside the block: every `OSError` in it is reported as a failure to write `path`.

    Args:
        path: the file to write; its folder is made where it is missing.

    Yields:
        A path in the same folder and with the same suffix, at which there is nothing yet.

    Raises:
        DataError: `path` cannot be written, for example because the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "made" / "note.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     print((Path(folder) / "made" / "note.txt").read_text())
        whole
    """
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Every `OSError` in the block is reported as a failure to write `path`.

    Raises:
        DataError: `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Fill a temporary folder; once the block ends well it becomes `folder`, otherwise nothing is left of it.

    Args:
        folder: the folder to write; not there yet, or empty.

    Yields:
        An empty folder beside it.

    Raises:
        DataError: there is something in `folder` already, or it cannot be written.
    """
    temporary = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(4)}")
    missing = [place for place in folder.parents if not place.exists()]
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"expected an empty or new folder, got {folder} with something in it; name another")
        temporary.mkdir(parents=True)
    try:
        with writing(folder):
            yield temporary
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing)


def require_writable(folder: Path) -> None:
    """Make sure that files can be written into a folder, before the work whose results they hold.

    Args:
        folder: where; it may be missing, and is afterwards as it was.

    Raises:
        DataError: it cannot be made or written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=folder):
                pass
    finally:
        _remove_empty(missing)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove those that are there and hold nothing; an inner one stands before that around it."""
    for folder in folders:
        with suppress(OSError):  # it was never made, or is in use
            folder.rmdir()


def take_name(names: Iterable[str], taken: set[str]) -> str:
    """The first of some names that no file has yet, which is taken with it; where small letters are as good, too.

    Args:
        names: to choose from; one of them must be free.
        taken: the names that are in use, in small letters.

    Example:
        >>> take_name(["A.png", "A-2.png"], {"a.png"})
        'A-2.png'
    """
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def visible_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files in a folder and all folders in it, sorted, but for what is hidden: `._a.png`, `.ipynb_checkpoints/`.

    Args:
        folder: where they lie; a folder that is not there has no files.
        suffixes: which files count, in lower case, with the dot.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def user_path(text: str | Path) -> Path:
    """A path as a user writes it, in an option or in a file of options: `~` is the home folder.

    Raises:
        ConfigError: there is no such user.

    Example:
        >>> user_path("~/runs") == Path.home() / "runs", user_path("runs")
        (True, PosixPath('runs'))
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"expected a path, got {text}, and there is no such user's folder") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises:
        DataError: `path` cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write indented JSON, whole or not at all; NaN and infinity, which JSON does not know, become null.

    Raises:
        DataError: `path` cannot be written.
    """
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remove(paths: Iterable[Path]) -> None:
    """Remove files.

    Raises:
        DataError: one of them cannot be removed.
    """
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise DataError(f"cannot remove {path}: {reason(error)}; choose another folder") from error


def finite(value: object) -> object:
    """The value as JSON can have it: NaN and infinity, anywhere inside, become None.

    Example:
        >>> finite({"f1": float("nan"), "steps": (1, 2.5)})
        {'f1': None, 'steps': [1, 2.5]}
    """
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value
        case Mapping():
            return {key: finite(item) for key, item in value.items()}
        case Sequence():
            return [finite(item) for item in value]
    return value
