"""What came of a repair: the verdicts and figures before and after, and what it cost."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, NamedTuple

from rich.table import Table as TextTable

from wheretolook.evaluation.intervals import Interval, fall_interval
from wheretolook.evaluation.judged import WORDS
from wheretolook.evaluation.pairs import PairFigures
from wheretolook.metrics.figures import FIGURES
from wheretolook.report import charts
from wheretolook.report.audit import percent
from wheretolook.report.components import Code, Details, Links, Part, Section, Table, Tone, Verdict
from wheretolook.report.tables import cell, number, text_table

QUESTION = "Is the network repaired?"
SHORTCUT = "shortcut"
CHARTED = 20  # classes
SHADES = ("#8fb6d3", "#2f7fb5", "#e8a878", "#c8560f")  # each background pale before, strong after


class Audited(NamedTuple):
    """What an audit left in its folder."""

    record: dict[str, Any]  # audit.json
    pairs: list[PairFigures]

    def words(self) -> dict[str, str]:
        """The verdict on each class."""
        return {one["name"]: one["word"] for one in self.record["classes"]}


def cost(before: Audited, after: Audited) -> Interval:
    """By how much the share of right answers fell on the audited images as they are; a rise is below 0.

    Args:
        before: the first audit.
        after: the second one, of the same images.
    """
    answers = [{(pair.name, pair.class_index): pair.right for pair in audited.pairs} for audited in (before, after)]
    both = [key for key in answers[0] if key in answers[1]]
    return fall_interval(*([found[key] for key in both] for found in answers))


def repair_answer(before: Audited, after: Audited) -> str:
    """What came of it, in a few sentences.

    Args:
        before: the first audit.
        after: the second one.
    """
    return f"{_shortcuts(before, after)} {_price(before, after)}"


def _price(before: Audited, after: Audited) -> str:
    """What it brought and what it cost, over all classes."""
    lost = cost(before, after)
    price = (
        f"On the audited images as they are, {_change(-lost.value)} points of accuracy "
        f"({_change(-lost.high)} to {_change(-lost.low)}, 95 % interval)."
    )
    return " ".join(filter(None, [_exchanged(before, after), price]))


def _shortcuts(before: Audited, after: Audited) -> str:
    """What became of the shortcuts, in a sentence."""
    words = after.words()
    was = [name for name, word in before.words().items() if word == SHORTCUT]
    left = [name for name, word in words.items() if word == SHORTCUT]
    if not was:
        return "No class was recognised by a shortcut before" + (f", {len(left)} are now." if left else ".")
    if _repaired(before, after):
        return f"Repaired: {len(was)} of {len(was)} shortcuts are fine."
    if len(left) < len(was):
        now = [words.get(name, "") for name in was]
        counts = ", ".join(f"{now.count(word)} {word}" for word in WORDS if word in now)
        return f"Partly repaired: of {len(was)} shortcuts there are now {counts}."
    return f"Not repaired: {len(left)} classes are recognised by a shortcut, {len(was)} were."


def _repaired(before: Audited, after: Audited) -> bool:
    """Whether there were shortcuts, all of which are fine now, and there is no other."""
    was = [name for name, word in before.words().items() if word == SHORTCUT]
    words = after.words()
    return bool(was) and not _count(after, SHORTCUT) and all(words.get(name) == "fine" for name in was)


def repair_tone(before: Audited, after: Audited) -> Tone:
    """Whether what came of it is good news: all shortcuts are fine, or there are no fewer of them.

    Args:
        before: the first audit.
        after: the second one.
    """
    was, left = _count(before, SHORTCUT), _count(after, SHORTCUT)
    if left >= max(was, 1):
        return "bad"
    return "good" if _repaired(before, after) else "unclear"


def _exchanged(before: Audited, after: Audited) -> str:
    """How often all classes together are recognised in front of another class's background."""
    shares = []
    for audited in (before, after):
        found = [trial["right"]["other_background"] for trial in audited.record["trials"] if trial["lent"]]
        if not found:
            return ""
        shares.append(100 * fmean(found))
    return f"In front of another class's background {shares[1]:.0f} % are right, {shares[0]:.0f} % were."


def repair_record(before: Audited, after: Audited, annotated: int) -> dict[str, Any]:
    """What came of it, as JSON has it.

    Args:
        before: the first audit.
        after: the second one.
        annotated: how many images guided.
    """
    old, new = before.words(), after.words()
    figures = {
        key: {"before": before.record["figures"].get(key), "after": after.record["figures"].get(key)} for key in FIGURES
    }
    return {
        "answer": repair_answer(before, after),
        "annotated_images": annotated,
        "accuracy_lost": asdict(cost(before, after)),
        "verdicts": {name: {"before": old[name], "after": new.get(name)} for name in old},
        "figures": figures,
    }


def repair_table(before: Audited, after: Audited) -> TextTable:
    """Verdicts and figures of each class for the terminal.

    Args:
        before: the first audit.
        after: the second one.
    """
    caption = "in percent: right as it is, in front of another class's background, attention on the object"
    return text_table(_HEADS, _class_rows(before, after), None, caption)


_HEADS = ["Class", "before", "after", "right", "other background", "on the object"]


def _class_rows(before: Audited, after: Audited) -> list[list[str]]:
    new = {one["name"]: one for one in after.record["classes"]}
    rows = []
    for old in before.record["classes"]:
        evidence = [one["evidence"] for one in (old, new[old["name"]])]
        rows.append(
            [
                old["name"],
                old["word"],
                new[old["name"]]["word"],
                _both([number(one["recognised"]["value"]) for one in evidence]),
                _both([number(one["rates"]["other_background"]) for one in evidence]),
                _both([number(one["energy"]) for one in evidence]),
            ]
        )
    return rows


def repair_sections(before: Audited, after: Audited, annotated: int, settings: str) -> list[Section]:
    """The sections of the page.

    Args:
        before: the first audit.
        after: the second one.
        annotated: how many images guided.
        settings: all options, as text.
    """
    counts = [f"{word}: {_count(before, word)} before, {_count(after, word)} after" for word in WORDS]
    more = f"{_price(before, after)} Classes: {'; '.join(counts)}."
    verdict = Verdict(QUESTION, _shortcuts(before, after), repair_tone(before, after), more)
    heads = ["Class", "before", "after", "right", "in front of another class's background", "attention on the object"]
    rows = _class_rows(before, after)
    note = "Verdicts, and percent before and after."
    classes = Table("Class by class", heads, rows, note, numbers=False)
    pages = Links("The audits, with pictures:", [(when, f"{when}/audit.html") for when in ("before", "after")])
    return [
        Section("Verdict", [verdict, classes, pages], note=f"Guided by {annotated} annotated images."),
        Section("What changed", _changes(before, after)),
        Section("Settings", [Details("Every setting", [Code(settings)])]),
    ]


def _changes(before: Audited, after: Audited) -> list[Part]:
    names = [one["name"] for one in before.record["classes"]][:CHARTED]
    series = {
        f"{change}, {when}": [100 * number(one["evidence"]["rates"][key]) for one in audited.record["classes"]][
            :CHARTED
        ]
        for change, key in (("own background", "own_background"), ("another class's", "other_background"))
        for when, audited in (("before", before), ("after", after))
    }
    chart = charts.bars(
        "Recognised in front of other images' backgrounds",
        names,
        series,
        up="images, in percent",
        description="For each class, how often it is recognised in front of other backgrounds, before and after.",
        unit=" %",
        colours=dict(zip(series, SHADES, strict=True)),
    )
    rows = []
    for key, figure in FIGURES.items():
        values = [number(audited.record["figures"].get(key)) for audited in (before, after)]
        if not any(map(math.isnan, values)) and figure.family != "count":
            sign = "+" if values[1] >= values[0] else ""
            change = sign + cell(key, values[1] - values[0])
            rows.append([figure.alone or figure.heading, *(cell(key, value) for value in values), change])
    heads = ["Figure", "Before", "After", "Change"]
    return [chart, Table("Figures on the audited images, shares in percent", heads, rows)]


def _count(audited: Audited, word: str) -> int:
    return sum(found == word for found in audited.words().values())


def _both(values: Sequence[float]) -> str:
    return " \N{RIGHTWARDS ARROW} ".join(map(percent, values))


def _change(share: float) -> str:
    return f"{100 * share:+z.1f}"
