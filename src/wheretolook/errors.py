"""What goes wrong on the user's side, in one line each: what was expected, what came, what to do.

The command line prints these without a traceback and exits with code 2, or 1 where a bar is missed. Anything else that
escapes is our own bug.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class WhereToLookError(Exception):
    """Base of everything that a user can cause and mend."""


class ConfigError(WhereToLookError):
    """An option, or a combination of options, that cannot work."""


class DataError(WhereToLookError):
    """An image, mask, split or table that is missing, broken or inconsistent."""


class ImageSizeError(DataError, ValueError):
    """An image too small for the network."""


class WeightsError(WhereToLookError):
    """A weights file or run folder that is missing, broken or of another network."""


class TrainingError(WhereToLookError):
    """Training cannot go on, for example because a loss is not finite."""


class BarError(WhereToLookError):
    """A figure that is not as good as was asked for: exit code 1, where all else is 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or nothing where none is near.

    Example:
        >>> nearest("splot", ["root", "split"])
        "; did you mean 'split'?"
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def reason(error: OSError) -> str:
    """The operating system's own words, without errno and path.

    Example:
        >>> reason(FileNotFoundError(2, "No such file or directory", "x"))
        'no such file or directory'
        >>> reason(OSError("image file is truncated"))
        'image file is truncated'
    """
    numbered = os.strerror(error.errno) if error.errno else ""
    return (error.strerror or numbered or " ".join(str(error).split()) or type(error).__name__).lower()


def unwritable(path: object, error: OSError) -> DataError:
    """What to say of a file or folder that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space or choose another folder" if full else "choose another folder"
    return DataError(f"cannot write {path}: {reason(error)}; {remedy}")


@contextmanager
def naming(images: Sequence[str]) -> Iterator[None]:
    """Where images turn out to be too small for the network, say which."""
    try:
        yield
    except ImageSizeError as error:
        raise ImageSizeError(f"{', '.join(images)}: {error}") from error
