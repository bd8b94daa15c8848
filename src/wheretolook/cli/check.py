"""The command `check`."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wheretolook.cli.console import console, tracked
from wheretolook.data import layout_of, open_dataset
from wheretolook.data.survey import Survey, overlaps, survey
from wheretolook.errors import ConfigError, DataError
from wheretolook.files import require_writable, user_path, write_text
from wheretolook.options.commands import Check
from wheretolook.options.data import DataOptions
from wheretolook.report.annotations import annotation_sheet

TEST = "test"  # looked at where there is one
MOST_LINES = 200


def check(options: Check) -> list[str]:
    """Say what a data set holds and what is wrong with it, write it with a contact sheet; returns the problems.

    Raises:
        ConfigError: an option that means nothing.
        DataError: no data set, or no split of it can be opened.
    """
    if options.limit < 1 or options.pictures < 0:
        raise ConfigError(
            f"expected limit >= 1 and pictures >= 0, got {options.limit} and {options.pictures}; give larger ones"
        )
    data, out = replace(options.data, root=options.root), user_path(options.out)
    layout = layout_of(data)
    require_writable(out)
    with _warnings() as warned:
        surveys, problems = _surveys(data, options)
    problems += [line for found in surveys for line in found.problems]
    problems += [*overlaps(surveys), *_unused(data), *dict.fromkeys(warned)]
    lines = [f"{options.root}: layout {layout}", *(line for found in surveys for line in _about(found))]
    many = "1 line" if len(problems) == 1 else f"{len(problems)} lines"
    count = f"{many} on what looks wrong:" if problems else "no problem was found"
    more = [f"and {len(problems) - MOST_LINES} more lines"] if len(problems) > MOST_LINES else []
    lines += ["", count, *(f"- {line}" for line in problems[:MOST_LINES]), *more]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    write_text(out / "check.txt", "\n".join(lines) + "\n")
    _draw(surveys, out / "annotations.png", options.pictures)
    console.print(f"the same in {out / 'check.txt'}")
    return problems


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is logged in the block, kept in place of being printed."""
    log, found = logging.getLogger("wheretolook"), list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


def _surveys(data: DataOptions, options: Check) -> tuple[list[Survey], list[str]]:
    """What each split holds, and why some cannot be opened.

    Raises:
        DataError: none can be.
    """
    named = list(dict.fromkeys([data.split, data.val_split, *data.held_out]))
    surveys, failed = [], dict[str, str]()
    for split in [*named, TEST] if TEST not in named else named:
        try:
            dataset = open_dataset(data, split)
        except DataError as error:
            if split in named:
                failed[split] = str(error)
            continue
        surveys.append(survey(dataset, split, options.limit, options.pictures, tracked))
    problems = [f"{split}: {error}" for split, error in failed.items()]
    if not surveys:
        raise DataError(next(iter(failed.values())) if len(set(failed.values())) == 1 else "; ".join(problems))
    if len({tuple(found.classes) for found in surveys}) > 1:
        problems.append("the splits have other classes than each other; write classes.txt, a class a line")
    return surveys, problems


def _about(found: Survey) -> Iterable[str]:
    """What a split holds, in a few lines."""
    yield ""
    sizes = ""
    if found.sizes is not None:
        (low, narrow), (high, wide) = found.sizes
        same = (low, narrow) == (high, wide)
        sizes = f", {wide}x{high} pixels" if same else f", from {narrow}x{low} to {wide}x{high} pixels"
    yield f"{found.split}: {len(found.names)} images{sizes}"
    yield f"  classes: {_counts(found.classes)}" + (f"; none of them: {found.without}" if found.without else "")
    part = "" if found.read == len(found.names) else f" ({found.read} of {len(found.names)} images were read whole)"
    yield f"  annotation: {_counts(found.kinds)}{part}"
    if found.groups:
        yield f"  groups: {_counts(found.groups)}{part}"


def _counts(counts: Mapping[str, int]) -> str:
    apart = "; " if any("," in name for name in counts) else ", "  # a group is "landbird, water"
    return apart.join(f"{name} {count}" for name, count in counts.items()) or "none"


def _unused(data: DataOptions) -> Iterable[str]:
    """What lies there and no option takes."""
    root = Path(str(data.root))
    if data.avoid_zones is None and (root / "avoid").is_dir():
        yield f"{root / 'avoid'} changes nothing; --data.avoid_zones avoid takes it for zones where not to look"
    if not data.group_by and data.groups is None and (root / "groups.csv").is_file():
        yield f"{root / 'groups.csv'} changes nothing; --data.group_by COLUMN makes groups of it"


def _draw(surveys: Sequence[Survey], path: Path, pictures: int) -> None:
    """The contact sheet, of all splits in turn."""
    each = -(-pictures // max(len(surveys), 1))
    shown = [(found.split, sample) for found in surveys for sample in found.shown[:each]]
    if not shown or not pictures:
        return
    annotation_sheet(shown, list(surveys[0].classes), path, about="annotated images, evenly spread over each split")
    console.print(f"images with their annotation in {path}")
