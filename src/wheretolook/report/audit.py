"""What an audit leaves: a record for programs, a table of classes, and a table for the terminal."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from wheretolook.evaluation.audit import Audit, ClassAudit
from wheretolook.evaluation.contexts import Context
from wheretolook.evaluation.exchange import CHANGES
from wheretolook.evaluation.intervals import Interval
from wheretolook.evaluation.judged import WORDS
from wheretolook.evaluation.pairs import PairFigures
from wheretolook.files import replacing
from wheretolook.options.audit import RuleOptions
from wheretolook.report.tables import ABSENT, text_table

TOLD = 40  # classes of which is said why, of more the worst
INTERVALS = ("recognised", "focus", "fall", "border")
SINGLE = ("images", "annotated", "tried", "mistaken", "follows", "energy", "chance", "ceiling")
CHANGED = {
    "as_it_is": "as it is",
    "object_erased": "object erased",
    "background_erased": "background erased",
    "own_background": "its background",
    "other_background": "another's background",
    "marked": "another's mark",
}


def audit_record(audit: Audit, rule: RuleOptions) -> dict[str, Any]:
    """An audit as JSON has it, but for the records of pairs, which have a table of their own.

    Args:
        audit: what was found.
        rule: says what is right for the wrong reason.
    """
    return {
        "shortcut_classes": [found.name for found in audit.classes if found.verdict.word == "shortcut"],
        "figures": audit.figures,
        "classes": [_class_record(found) for found in audit.classes],
        "wrong_reasons": [_named(pair) for pair in audit.wrong_reasons(rule)],
        "wrong": [_named(pair) for pair in audit.wrong()],
        "groups": [asdict(group) for group in audit.groups],
        "trials": [trial._asdict() for trial in audit.trials],
    }


def _named(pair: PairFigures) -> dict[str, str]:
    return {"image": pair.name, "class": pair.class_name}


def _class_record(found: ClassAudit) -> dict[str, Any]:
    record = {name: value for name, value in vars(found).items() if name not in ("contexts", "verdict")}
    shared = [_context_record(context) for context in found.contexts]
    parts = {name: asdict(record[name]) for name in ("evidence", "places")}
    said = {"word": found.verdict.word, "reason": found.verdict.reason}
    return {**record, **parts, **said, "contexts": shared}


def _context_record(context: Context) -> dict[str, Any]:
    patches = [{"image": patch.name, "share": patch.share, "box": patch.box} for patch in context.patches]
    return {"images": context.images, "share": context.share, "likeness": context.likeness, "patches": patches}


def write_classes(path: Path, classes: Sequence[ClassAudit]) -> None:
    """Write a line a class as CSV, whole or not at all: shares in [0, 1], an empty cell for what is not known.

    Args:
        path: the file.
        classes: in the order of the lines.

    Raises:
        DataError: `path` cannot be written.
    """
    ends = [f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")]
    changes = [f"right_{change}" for change in CHANGES] + [f"probability_{change}" for change in CHANGES]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head = ["class", "verdict", "reason", *SINGLE, *ends, *changes]
        writer.writerow([*head, "spread", "empty", "place", "place_over_chance", "shared_patches"])
        writer.writerows([_class_line(found) for found in classes])


def _class_line(found: ClassAudit) -> list[object]:
    evidence, verdict, places = found.evidence, found.verdict, found.places
    intervals: list[Interval] = [getattr(evidence, name) for name in INTERVALS]
    numbers = [getattr(evidence, name) for name in SINGLE]
    numbers += [end for one in intervals for end in (one.value, one.low, one.high)]
    numbers += [of[change] for of in (evidence.rates, found.probability) for change in CHANGES]
    numbers += [found.spread, found.empty]
    shared = max((context.share for context in found.contexts), default=0.0)
    cells = [*map(_number, numbers), places.where, _number(places.over_chance), _number(shared)]
    return [found.name, verdict.word, verdict.reason, *cells]


def _number(value: float | int) -> object:
    return "" if math.isnan(value) else f"{value:.6g}"


def worst_first(classes: Sequence[ClassAudit]) -> list[ClassAudit]:
    """Classes by their verdicts, and within each by how much the background says.

    Args:
        classes: in any order.
    """

    def key(one: ClassAudit) -> tuple[int, float]:
        fall = one.evidence.fall.value
        return WORDS.index(one.verdict.word), 0.0 if math.isnan(fall) else -fall

    return sorted(classes, key=key)


def in_short(audit: Audit) -> list[str]:
    """Why classes have their verdicts, a line for all that have one for the same reason; the numbers are in the table.

    Args:
        audit: what was found.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in worst_first(audit.classes)[:TOLD]:
        why = one.verdict.why.rstrip(".")
        found.setdefault((one.verdict.word, why[:1].lower() + why[1:]), []).append(one.name)
    return [f"{word}: {', '.join(names)}: {why}" for (word, why), names in found.items()]


def audit_table(audit: Audit) -> Table:
    """The verdicts for the terminal, a line a class.

    Args:
        audit: what was found.
    """
    heads = ["Class", "verdict", "images", "right", "its own", "another's", "erased", "looks", "way"]
    lines = [
        [
            found.name,
            found.verdict.word,
            str(found.evidence.images),
            *map(
                percent,
                (
                    found.evidence.recognised.value,
                    *(found.evidence.rates[key] for key in ("own_background", "other_background", "object_erased")),
                    found.evidence.energy,
                    found.evidence.focus.value,
                ),
            ),
        ]
        for found in worst_first(audit.classes)
    ]
    caption = (
        "in percent. right: as it is; its own, another's: in front of the background of another image of the class, of "
        "another class; erased: without the object. looks: attention on the object; way: how far that is from chance "
        "to the best that the grid of features allows"
    )
    return text_table(heads, lines, None, caption)


def percent(share: float) -> str:
    """A share in percent, an en dash where there is none."""
    return ABSENT if math.isnan(share) else f"{100 * share:.0f}"
