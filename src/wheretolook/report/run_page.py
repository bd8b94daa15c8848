"""The page of one run: the answer first, then all that it rests on. A part that was not measured is absent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from wheretolook.evaluation.pairs import PairFigures
from wheretolook.metrics.figures import FIGURES
from wheretolook.report import charts
from wheretolook.report.changes import answers, gain_of
from wheretolook.report.components import Chart, Code, Columns, Details, Part, Section, Table, Text, Verdict
from wheretolook.report.losses import loss_charts, validation_charts
from wheretolook.report.page import write_page
from wheretolook.report.recorded import Recorded, Steps, leaves
from wheretolook.report.seeds import SeedRow, mean_rows, seed_cells, spread_note
from wheretolook.report.tables import ABSENT, CLASS_FIGURES, MARK_FIGURE, class_cells, number
from wheretolook.report.verdict import QUESTION, verdict

REPORT_FILE = "report.html"
TITLES = {
    "recipe": "What guidance changed",
    "training": "Training",
    "evaluation": "Evaluation",
    "pictures": "Before and after",
}
LOSSES_NOTE = "Strong lines: the moving average over a twentieth of the training. Faint ones: what was logged."
COLOURS = {
    "object": charts.GOOD,
    "context": "#7b868f",
    "inside": "#7b868f",
    "border": charts.BAD,
    "empty maps": "#8577d6",
}
BARS = 16  # classes in a chart
EXTREMES = 10  # rows of the tables of gains and regressions
EARLIER = ("Segmenter", "Classifier")  # stages before the one that is compared


def write_run_page(run: Recorded, path: Path) -> None:
    """Write the page of a run.

    Args:
        run: what lies in its folder.
        path: the HTML file.

    Raises:
        DataError: `path` cannot be written.
    """
    write_page(path, f"{TITLES[run.kind]}: {run.folder.resolve().name}", sections(run), subtitle=str(run.folder))


def sections(run: Recorded) -> list[Section]:
    """The parts of a run's page, from top to bottom.

    Args:
        run: what lies in its folder.
    """
    answer = _answer(run)
    found = [
        Section("The answer" if answer else "Figures", [*answer, *_tables(run)]),
        Section("Losses", _losses(run), note=LOSSES_NOTE if run.histories else ""),
        Section("Pictures", [] if run.pictures is None else [run.pictures[1], run.pictures[0]], note=_sides(run)),
        Section("Classes and groups", _classes(run)),
        Section("Each image", _distribution(run), note=_pairs_note(run)),
        Section("Where attention went", _places(run)),
        Section("Settings", _settings(run)),
    ]
    return [section for section in found if section.parts]


def _answer(run: Recorded) -> list[Part]:
    """The verdict, where there is something to judge."""
    said = verdict(run.rows) if run.kind == "recipe" else None
    return [] if said is None else [Verdict(QUESTION, f"{said.answer}.", said.tone, said.figures)]


def last_stage(run: Recorded) -> Steps:
    """What the training that a run's page speaks of measured: the last of its stages.

    Args:
        run: what lies in its folder.
    """
    return list(run.histories.values())[-1] if run.histories else []


def last_validation(run: Recorded) -> list[SeedRow]:
    """A row of the figures that a training measured last; none where it validated nothing.

    Args:
        run: what lies in its folder.
    """
    last = {key: row[f"val/{key}"] for row in last_stage(run) for key in FIGURES if f"val/{key}" in row}
    return [{"weights": "last validation", "seed": 0, **last}] if last else []


def _tables(run: Recorded) -> list[Part]:
    """Every figure of every row, or the last of a training; for a recipe also what guidance changed, seed by seed."""
    if not run.rows:
        last = last_validation(run) if run.kind == "training" else []
        tables = seed_cells(last, alone=True) if last else ()
        return [Table(f"Figures, {spread_note(last)}", ["", *headings], cells) for _, headings, cells in tables]
    (_, headings, cells), *differences = seed_cells(run.rows, alone=True)
    found: list[Part] = [Table(f"Figures, {spread_note(run.rows)}", ["", *headings], cells)]
    if differences and run.kind == "recipe":
        _, headings, cells = differences[0]
        found.append(Details("What changed, seed by seed", [Table(spread_note(run.rows), ["", *headings], cells)]))
    return found


def _losses(run: Recorded) -> list[Part]:
    compared = {name: rows for name, rows in run.histories.items() if name not in EARLIER} or dict(run.histories)
    earlier = {name: rows for name, rows in run.histories.items() if name not in compared}
    parts: list[Part] = _side_by_side(loss_charts(compared))
    if validated := validation_charts(compared):
        parts.append(Details("Figures on the images to validate on, in percent", _side_by_side(validated)))
    if earlier:
        inner = [chart for name, rows in earlier.items() for chart in _stage_charts(name, rows)]
        parts.append(Details("The stages before", _side_by_side(inner)))
    return parts


def _stage_charts(name: str, rows: Sequence[Mapping[str, float]]) -> list[Chart]:
    """The total alone where there is but one loss, which it is."""
    found = loss_charts({name: rows})
    shown = found[:1] if len(found) == 2 else found
    return [replace(chart, title=f"{name}: {chart.title.lower()}") for chart in shown]


def _side_by_side(found: Sequence[Chart]) -> list[Part]:
    return [Columns(found)] if found else []


def _classes(run: Recorded) -> list[Part]:
    means = mean_rows(run.rows) if run.rows else []
    tables = classes_tables(means, run.class_names)
    found = [*tables, groups_table(means), _energy_of_classes(run)]
    return [part for part in found if part is not None]


def classes_tables(means: Sequence[Mapping[str, object]], class_names: Sequence[str]) -> list[Table]:
    """The figure of every class, and its attention on marks; those that were measured.

    Args:
        means: a row for each network.
        class_names: without background; empty where they are not known.
    """
    kinds = [class_cells(means, class_names, figures=of) for of in (CLASS_FIGURES, (MARK_FIGURE,)) if class_names]
    return [Table(f"Classes: {found[0]}", ["", *_names(means)], found[1]) for found in kinds if found is not None]


def groups_table(means: Sequence[Mapping[str, object]]) -> Table | None:
    """How many images of each group are recognised; None where there are no groups.

    Args:
        means: a row for each network.
    """
    groups = dict.fromkeys(group for row in means for group in _groups(row))
    cells = [[group, *(_percent(_groups(row).get(group)) for row in means)] for group in groups]
    caption = "Groups: share of their images that are recognised, in percent"
    return Table(caption, ["", *_names(means)], cells) if cells else None


def _names(means: Sequence[Mapping[str, object]]) -> list[str]:
    return [str(row["weights"]) for row in means]


def _groups(row: Mapping[str, object]) -> Mapping[str, object]:
    groups = row.get("accuracy_per_group")
    return groups if isinstance(groups, Mapping) else {}


def _percent(share: object) -> str:
    value = number(share)
    return ABSENT if math.isnan(value) else f"{100 * value:.2f}"


def _energy_of_classes(run: Recorded) -> Chart | None:
    """The mean share of attention on the objects of each class; those that changed the most where there are many."""
    found = {}
    for name in dict.fromkeys(pair.class_name for pair in run.before):
        both = [(one, other) for one, other in zip(run.before, run.after, strict=True) if one.class_name == name]
        known = [(one.energy, other.energy) for one, other in both if one.annotated]
        if known:
            found[name] = tuple(100 * fmean(side) for side in zip(*known, strict=True))
    if not found:
        return None
    most = sorted(found, key=lambda name: -abs(found[name][1] - found[name][0]))[:BARS]
    shown = sorted(most, key=lambda name: found[name][0] - found[name][1])
    about = "Mean share of attention that lies on the object, from the largest rise to the largest fall."
    if len(found) > BARS:
        about += f" The {BARS} of {len(found)} classes that changed the most."
    series = {when: [found[name][place] for name in shown] for place, when in enumerate(("before", "after"))}
    return charts.bars("Attention on the object, by class", shown, series, up="percent", unit=" %", description=about)


def _sides(run: Recorded) -> str:
    """Which networks are before and after."""
    if run.kind == "recipe" and run.rows:
        first, last = (str(run.rows[place]["weights"]) for place in (0, -1))
        return f"Before: {first}; after: {last}, both of the first seed."
    if "before" in run.options and "after" in run.options:
        return f"Before: {run.options['before']}; after: {run.options['after']}."
    return ""


def _pairs_note(run: Recorded) -> str:
    if not run.before:
        return ""
    return f"Every class that an image shows counts once: {len(run.before)} in all, of the two networks above."


def _distribution(run: Recorded) -> list[Part]:
    """How each pair changed, and which of them changed the most, for better and for worse."""
    pairs = list(zip(run.before, run.after, strict=True))
    if not pairs:
        return []
    annotated = any(before.annotated for before, _ in pairs)
    what = "share of attention on the object" if annotated else "the class's probability"
    gains = [100 * gain_of(*pair) for pair in pairs]
    known = [gain for gain in gains if math.isfinite(gain)]
    rose, fell = sum(gain > 0 for gain in known), sum(gain < 0 for gain in known)
    about = f"{rose} rose, {fell} fell, {len(known) - rose - fell} stayed."
    ranked = sorted(zip(gains, pairs, strict=True), key=lambda one: one[0])
    ranked = [one for one in ranked if math.isfinite(one[0])]
    best = [one for one in reversed(ranked) if one[0] > 0][:EXTREMES]
    worst = [one for one in ranked if one[0] < 0][:EXTREMES]
    return [
        charts.histogram(f"Change of {what}", gains, across="change in points", description=about),
        Columns(
            [_extremes("The largest gains", best, annotated), _extremes("The worst regressions", worst, annotated)]
        ),
    ]


def _extremes(
    caption: str, found: Sequence[tuple[float, tuple[PairFigures, PairFigures]]], annotated: bool
) -> Table | Text:
    if not found:
        return Text(f"{caption}: none.")

    def share(pair: PairFigures) -> str:
        return f"{100 * (pair.energy if annotated else pair.probability):.0f} %"

    rows = [
        [f"{before.class_name} in {before.name}", share(before), share(after), f"{gain:+z.0f}", answers(before, after)]
        for gain, (before, after) in found
    ]
    return Table(caption, ["", "before", "after", "points", "answer"], rows)


def _places(run: Recorded) -> list[Part]:
    return [places_chart({"before": run.before, "after": run.after})] if run.before else []


def places_chart(sides: Mapping[str, Sequence[PairFigures]]) -> Chart:
    """Shares of attention on the object, beside it, on the border and nowhere, a bar for each network.

    Args:
        sides: all pairs as each network sees them.
    """
    annotated = any(pair.annotated for pairs in sides.values() for pair in pairs)
    kept = {name: [pair for pair in side if pair.annotated or not annotated] for name, side in sides.items()}
    means = {name: _shares(side, annotated) for name, side in kept.items() if side}
    places = [place for place in next(iter(means.values())) if any(mean[place] for mean in means.values())]
    about = "A border is a tenth of the image's shorter side wide."
    if annotated:
        chance = fmean(pair.chance for pair in next(filter(None, kept.values())))
        about += f" An even map would have {100 * chance:.0f} % on the object."
    series = {place: [100 * mean[place] for mean in means.values()] for place in places}
    title = "Shares of attention"
    return charts.bars(
        title, list(means), series, up="percent", unit=" %", description=about, stacked=True, colours=COLOURS
    )


def _shares(pairs: Sequence[PairFigures], annotated: bool) -> dict[str, float]:
    """The mean shares of maps; an empty map has its energy nowhere."""
    empty = fmean(pair.empty for pair in pairs)
    border = fmean(pair.border_beside if annotated else pair.border for pair in pairs)
    shares = {"object": fmean(pair.energy for pair in pairs)} if annotated else {}
    rest = max(0.0, 1 - empty - border - sum(shares.values()))
    return {**shares, "context" if annotated else "inside": rest, "border": border, "empty maps": empty}


def _settings(run: Recorded) -> list[Part]:
    parts: list[Part] = []
    if run.missing:
        parts.append(Text("Not in the folder: " + "; ".join(run.missing) + "."))
    if run.command:
        parts.append(Code(run.command, "The command"))
    if run.environment:
        rows = [[name.removeprefix("versions."), value] for name, value in leaves(run.environment)]
        parts.append(Table("Versions and machine", ["", "value"], rows, numbers=False))
    if run.options:
        rows = [[name, value] for name, value in leaves(run.options)]
        parts.append(Details("Every setting", [Table("Options by their names", ["", "value"], rows, numbers=False)]))
    return parts
