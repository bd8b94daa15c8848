"""What came of a repair: the verdicts and figures before and after, and what it cost."""

import math
from collections.abc import Callable, Mapping, Sequence
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
from wheretolook.report.components import (
    Card,
    Code,
    Details,
    Gallery,
    Links,
    Part,
    Picture,
    Section,
    Step,
    Steps,
    Table,
    Tone,
    Verdict,
)
from wheretolook.report.tables import cell, number, text_table

QUESTION = "Is the network repaired?"
SHORTCUT = "shortcut"
JUDGED = (SHORTCUT, "suspicious")  # the verdicts that something is wrong
CHARTED = 20  # classes
NAMED = 6  # classes in a sentence
PATCHES = (
    "The most attended places beside the object that most images of a class share, as the audit found them: where a "
    "shortcut is, it mostly shows here."
)
SHADES = ("#8fb6d3", "#2f7fb5", "#e8a878", "#c8560f")  # each background pale before, strong after


class Audited(NamedTuple):
    """What an audit left in its folder."""

    record: dict[str, Any]  # audit.json
    pairs: list[PairFigures]

    def words(self) -> dict[str, str]:
        """The verdict on each class."""
        return {one["name"]: one["word"] for one in self.record["classes"]}


class Done(NamedTuple):
    """What was done between two audits.

    Args:
        annotated: images that were annotated.
        images: to train on.
        propagated: whether the others were given probable masks.
        steps: of training.
    """

    annotated: int
    images: int
    propagated: bool
    steps: int


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
        return f"Partly repaired: {_left([words.get(name, '') for name in was])}."
    return f"Not repaired: shortcuts in {len(was)} of {len(words)} classes before, in {len(left)} now."


def _left(now: Sequence[str]) -> str:
    """What the classes that had a shortcut are now, in words."""
    left = now.count(SHORTCUT)
    others = " or ".join(f"{word} ({now.count(word)})" for word in WORDS if word != SHORTCUT and word in now)
    return f"{left or 'none'} of {len(now)} shortcuts left; {'the other' if left else 'these'} classes are now {others}"


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
    shares = [_recognised_elsewhere(audited) for audited in (before, after)]
    if any(map(math.isnan, shares)):
        return ""
    return f"In front of another class's background {shares[1]:.0f} % are right, {shares[0]:.0f} % were."


def _recognised_elsewhere(audited: Audited) -> float:
    """In percent of the images that were shown in front of another class's background; NaN without any."""
    found = [trial["right"]["other_background"] for trial in audited.record["trials"] if trial["lent"]]
    return 100 * fmean(found) if found else math.nan


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


def repair_sections(
    before: Audited, after: Audited, done: Done, settings: str, patches: Sequence[Card] = ()
) -> list[Section]:
    """The sections of the page.

    Args:
        before: the first audit.
        after: the second one.
        done: what was done between the two.
        settings: all options, as text.
        patches: what attracted attention before, in each class.
    """
    verdict = Verdict(QUESTION, _shortcuts(before, after), repair_tone(before, after), _price(before, after))
    heads = ["Class", "verdict before", "after", "right", "in front of another's background", "attention on the object"]
    note = "Shares in percent, before and after."
    classes = Table("Class by class", heads, _class_rows(before, after), note)
    pages = Links("The audits, with pictures:", [(when, f"{when}/audit.html") for when in ("before", "after")])
    sections = [
        Section("Verdict", [verdict, Steps(_story(before, after, done)), classes, pages]),
        Section("What changed", _changes(before, after)),
        Section("Settings", [Details("Every setting", [Code(settings)])]),
    ]
    if patches:
        sections.insert(1, Section("What it went by", [Gallery("Before the repair", patches, rule=PATCHES)]))
    return sections


def _story(before: Audited, after: Audited, done: Done) -> list[Step]:
    """Found, annotated, guided, audited again."""
    annotated = f"{done.annotated} of {done.images} images"
    spread = "the objects of the other images were found from these" if done.propagated else "the others guide nothing"
    which = (
        "of training: all have masks or boxes" if done.annotated == done.images else f"have masks or boxes; {spread}"
    )
    return [
        Step("Found", *_found(before, "are")),
        Step("Annotated", annotated, f"{which}."),
        Step("Guided", f"{done.steps} steps", "of training that was told where the objects are."),
        Step("Audited again", *_found(after, "are still")),
    ]


def _found(audited: Audited, verb: str) -> tuple[str, str]:
    """How many classes are recognised by a shortcut, and how the network does without it."""
    words = audited.words()
    names = [name for name, word in words.items() if word == SHORTCUT]
    known = f": {', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''}" if names else ""
    share = _recognised_elsewhere(audited)
    said = "" if math.isnan(share) else f" In front of another class's background {share:.0f} % are right."
    return f"{len(names)} of {len(words)} classes", f"{verb} recognised by a shortcut{known}.{said}"


def patch_cards(before: Audited, after: Audited, pictures: Callable[[Mapping[str, Any]], list[Picture]]) -> list[Card]:
    """For each class that is not fine, what most of its images share beside the object.

    Args:
        before: the first audit.
        after: the second one.
        pictures: the patches of a context, as the audit recorded it.
    """
    words, cards = after.words(), []
    for one in sorted(before.record["classes"], key=lambda each: WORDS.index(each["word"])):
        if one["word"] in JUDGED and one["contexts"]:
            context = one["contexts"][0]
            facts = [
                ("verdict", f"{one['word']} \N{RIGHTWARDS ARROW} {words[one['name']]}"),
                ("in", f"{context['images']} of {one['evidence']['images']} images"),
            ]
            tone: Tone = "bad" if one["word"] == SHORTCUT else "unclear"
            cards.append(Card(one["name"], pictures(context), "", "", context["share"], facts, tone))
    return cards[:CHARTED]


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
