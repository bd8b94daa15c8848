"""The page of an audit: a verdict for each class, why, what was tried, where it looks, and pictures."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from wheretolook.evaluation.audit import Audit, ClassAudit
from wheretolook.evaluation.exchange import CHANGES
from wheretolook.evaluation.judged import WORDS, judged
from wheretolook.metrics.figures import FIGURES
from wheretolook.options.audit import RuleOptions
from wheretolook.report import charts
from wheretolook.report.audit import CHANGED, TOLD, percent, worst_first
from wheretolook.report.audit_pictures import AuditPictures
from wheretolook.report.components import Code, Details, Gallery, Part, Section, Table, Text, Verdict
from wheretolook.report.tables import ABSENT, cell, number

QUESTION = "Does the network look at the right thing?"
RAMP = "attention, from none to the map's own maximum; lines at 20 % and 50 % of it"
CHARTED = 20  # classes, of more the worst
SHOWN = ("as_it_is", "own_background", "other_background", "object_erased")
LEGEND = (
    "Its background: that of another image of the class, lent with its own object painted over; another's background: "
    "that of an image of another class. Both are pasted alike, so the difference is what a background says of the "
    "class. Objects are erased with the box around them, in the mean colour of their background."
)


def audit_sections(audit: Audit, rule: RuleOptions, shown: AuditPictures, settings: str) -> list[Section]:
    """The sections of the page.

    Args:
        audit: what was found.
        rule: by which classes are judged.
        shown: the pictures.
        settings: all options, as text.
    """
    return [
        Section("Verdict", [verdict_of(audit), *_verdicts(audit), Details("The rule", _rule(rule))]),
        Section("Does it matter?", _behaviour(audit), note=LEGEND),
        Section("Right for the wrong reason", [_wrong_reasons(audit, rule, shown)]),
        Section("What attracts attention beside the object", [_contexts(shown)]),
        Section("Wrong", [_wrong(audit, shown)]),
        Section("Where it looks", _attention(audit)),
        Section("Figures and settings", [_figures(audit), Details("Every setting", [Code(settings)])]),
    ]


def verdict_of(audit: Audit) -> Verdict:
    """The answer in a sentence.

    Args:
        audit: what was found.
    """
    by_word = {word: [one.name for one in audit.classes if one.verdict.word == word] for word in WORDS}
    shortcut, suspicious, open_ = (by_word[word] for word in ("shortcut", "suspicious", "too few to say"))
    more = "; ".join(f"{word}: {', '.join(names)}" for word, names in by_word.items() if names)
    total = len(audit.classes)
    if not total:
        answer = "It cannot be told: no image shows a class."
    elif shortcut:
        answer = f"No: {len(shortcut)} of {total} classes are recognised by their background."
    elif suspicious:
        answer = f"Not surely: {len(suspicious)} of {total} classes are suspicious."
    elif open_:
        answer = f"It cannot be told of {len(open_)} of {total} classes."
    else:
        answer = f"Yes, as far as {total} classes can tell."
    tone = "bad" if shortcut else "unclear" if suspicious or open_ or not total else "good"
    return Verdict(QUESTION, answer, tone, more)  # type: ignore[arg-type]


def _verdicts(audit: Audit) -> list[Part]:
    """A table to compare, and folded away, why."""
    order = worst_first(audit.classes)
    heads = ["Class", "verdict", "images", "right", *(CHANGED[key] for key in SHOWN[1:]), "fall", "on the object"]
    rows = [
        [
            one.name,
            one.verdict.word.replace(" ", "\N{NO-BREAK SPACE}"),
            str(one.evidence.images),
            percent(one.evidence.recognised.value),
            *(percent(one.evidence.rates[key]) for key in SHOWN[1:]),
            percent(one.evidence.fall.value),
            percent(one.evidence.energy),
        ]
        for one in order
    ]
    why = [[one.name, row[1], one.verdict.reason] for one, row in zip(order[:TOLD], rows, strict=False)]
    return [
        Table("The classes, the worst first, in percent", heads, rows),
        Details("Why, class by class", [Table("Why", ["Class", "verdict", "what it rests on"], why, numbers=False)]),
    ]


def _rule(rule: RuleOptions) -> list[Part]:
    told = inspect.cleandoc(judged.__doc__ or "").split("\n\nArgs:")[0].replace("`", "").split("\n\n", 1)[1]
    rows = [[f"rule.{field.name}", f"{getattr(rule, field.name):g}"] for field in fields(rule)]
    items = told.replace("\n- ", "\n\n").replace("*", "").removeprefix("- ")
    return [Text(items), Table("Thresholds", ["Option", "Value"], rows)]


def _behaviour(audit: Audit) -> list[Part]:
    classes = [one for one in worst_first(audit.classes) if one.evidence.tried]
    if not classes:
        return [Text("No image has a mask or box, so that nothing could be erased or exchanged.")]
    charted = classes[:CHARTED]
    series = {CHANGED[key]: [100 * one.evidence.rates[key] for one in charted] for key in SHOWN}
    chart = charts.bars(
        "Share of images in which the class is recognised",
        [one.name for one in charted],
        series,
        up="images, in percent",
        description="For each class, how often it is recognised as it is and after each change of the image.",
        unit=" %",
    )
    rows = [[one.name, str(one.evidence.tried), *_row(one.evidence.rates), *_fall(one)] for one in classes]
    heads = ["Class", "images tried", *(CHANGED[change] for change in CHANGES), "fall", "95 % interval"]
    chances = [[one.name, *_row(one.probability)] for one in classes]
    return [
        chart,
        Table("Recognised, in percent, and the fall from a background of its class to another's", heads, rows),
        Details(
            "How sure it is", [Table("Mean probability of the class, in percent", [heads[0], *heads[2:-2]], chances)]
        ),
    ]


def _row(values: Mapping[str, float]) -> list[str]:
    return [percent(values[change]) for change in CHANGES]


def _fall(one: ClassAudit) -> list[str]:
    fall = one.evidence.fall
    return [percent(fall.value), f"{percent(fall.low)} to {percent(fall.high)}"]


def _wrong_reasons(audit: Audit, rule: RuleOptions, shown: AuditPictures) -> Part:
    total = len(audit.wrong_reasons(rule))
    right = sum(pair.right and pair.annotated for pair in audit.pairs)
    if not total:
        return Text(f"None of {right} answers that are right, as far as masks and boxes tell.")
    return Gallery(
        f"{total} of {right} right answers",
        shown.wrong_reasons,
        total,
        "attention over chance",
        f"Right, and either with no more attention on the object than {_times(rule.off_object)}a uniform map has, or "
        "as well without the object, and not in front of another class's background. The least attention first.",
        ramp=RAMP,
    )


def _times(factor: float) -> str:
    """So many times, but once."""
    return "" if factor == 1 else f"{factor:g} times what "


def _wrong(audit: Audit, shown: AuditPictures) -> Part:
    total = len(audit.wrong())
    if not total:
        return Text(f"None of {len(audit.pairs)}.")
    return Gallery(
        f"{total} of {len(audit.pairs)} answers",
        shown.wrong,
        total,
        "attention over chance",
        "Those first in which the class is given the least probability.",
        ramp=RAMP,
    )


def _contexts(shown: AuditPictures) -> Part:
    if not shown.contexts:
        return Text("Nothing that several images of a class share.")
    rule = (
        "The most attended cell of each image beside its object (anywhere, where nobody says where that is), clustered "
        "by the network's own features. What most images of a class share stands first."
    )
    return Gallery("Patches that images of a class share", shown.contexts, 0, "share of images", rule)


def _attention(audit: Audit) -> list[Part]:
    parts: list[Part] = [_where(audit.classes)]
    if audit.groups:
        rows = [[one.name, str(one.pairs), percent(one.right), _spread(one.energy, one.spread)] for one in audit.groups]
        heads = ["Group", "images", "right", "on the object"]
        parts.append(Table("By group, in percent, with standard deviation over images", heads, rows))
    return parts


def _where(classes: Sequence[ClassAudit]) -> Table:
    heads = ["Class", "images", "on the object", "by chance", "at best", "way", "on the border", "empty maps", "place"]
    rows = [
        [
            one.name,
            str(one.evidence.images),
            _spread(one.evidence.energy, one.spread),
            percent(one.evidence.chance),
            percent(one.evidence.ceiling),
            percent(one.evidence.focus.value),
            cell("energy_pointing_over_chance", one.evidence.border.value),
            percent(one.empty),
            f"{one.places.where} {one.places.over_chance:.1f}x",
        ]
        for one in classes
    ]
    note = (
        "In percent of a map's energy, with standard deviation over images. At best: a perfect map on the network's "
        "grid of features; way: from chance to that. Border: over a uniform map. Place: the tenth of all places, over "
        "the images of the class, with most of the attention beside the object, over chance."
    )
    return Table("By class", heads, rows, note)


def _spread(mean: float, spread: float) -> str:
    return percent(mean) + ("" if math.isnan(spread) else f" \N{PLUS-MINUS SIGN} {percent(spread)}")


def _figures(audit: Audit) -> Table:
    known = [key for key in FIGURES if not math.isnan(number(audit.figures.get(key)))]
    rows = [[FIGURES[key].alone or FIGURES[key].heading, cell(key, audit.figures[key])] for key in known]
    return Table("Figures", ["Figure", "Value"], rows, "shares in percent") if rows else Table(ABSENT, [""], [])
