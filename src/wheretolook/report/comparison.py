"""One page of several runs: their answers and tables side by side, their curves in the same charts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from wheretolook.metrics.figures import FIGURES
from wheretolook.report.components import Code, Columns, Details, Part, Section, Table, Text
from wheretolook.report.losses import loss_charts, validation_charts
from wheretolook.report.page import write_page
from wheretolook.report.recorded import Recorded, leaves
from wheretolook.report.run_page import (
    LOSSES_NOTE,
    classes_tables,
    groups_table,
    last_stage,
    last_validation,
    places_chart,
)
from wheretolook.report.seeds import SeedRow, mean_rows, seed_cells, spread_note
from wheretolook.report.tables import ABSENT, CLASS_FIGURES, number
from wheretolook.report.verdict import verdict


def write_comparison(runs: Sequence[Recorded], path: Path) -> None:
    """Write one page of several runs.

    Args:
        runs: at least two.
        path: the HTML file.

    Raises:
        DataError: `path` cannot be written.
    """
    named = dict(zip(labels([run.folder for run in runs]), runs, strict=True))
    write_page(path, f"{len(runs)} runs compared", comparison(named), subtitle=", ".join(named))


def comparison(runs: Mapping[str, Recorded]) -> list[Section]:
    """The parts of the page.

    Args:
        runs: by the names that tell them apart.
    """
    rows = [row for name, run in runs.items() for row in _rows(name, run)]
    found = [
        Section("Answers and figures", [*_answers(runs), *_figures(rows)]),
        Section("Losses", _losses(runs), note=LOSSES_NOTE),
        Section("Classes and groups", _classes(rows, runs)),
        Section("Where attention went", _places(runs)),
        Section("Settings", [*_missing(runs), *_differences(runs), *_commands(runs)]),
    ]
    return [section for section in found if section.parts]


def labels(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them from one another; those that are the same get a number.

    Args:
        folders: of the runs.

    Example:
        >>> labels([Path("a/guided"), Path("b/guided")]), labels([Path("x/a"), Path("x/b")])
        (['a/guided', 'b/guided'], ['a', 'b'])
        >>> labels([Path("a"), Path("a")])
        ['a', 'a (2)']
    """
    parts = [folder.resolve().parts for folder in folders]
    length = next((n for n in range(1, max(map(len, parts))) if len({part[-n:] for part in parts}) == len(parts)), 0)
    if length:
        return ["/".join(part[-length:]) for part in parts]
    names = [part[-1] for part in parts]
    return [name if name not in names[:place] else f"{name} ({place + 1})" for place, name in enumerate(names)]


def _rows(name: str, run: Recorded) -> list[SeedRow]:
    """The figures of a run under its name: of every row that was measured, or of a training's last validation."""
    if run.rows:
        alone = len({row["weights"] for row in run.rows}) == 1
        return [{**row, "weights": name if alone else f"{name}: {row['weights']}"} for row in run.rows]
    return [{**row, "weights": f"{name}, {row['weights']}"} for row in last_validation(run)]


def _answers(runs: Mapping[str, Recorded]) -> list[Part]:
    said = {name: verdict(run.rows) for name, run in runs.items() if run.kind == "recipe"}
    lines = [[name, str(answer)] for name, answer in said.items() if answer]
    return [Table("What came of each run", ["", "answer"], lines, numbers=False)] if lines else []


def _figures(rows: Sequence[SeedRow]) -> list[Part]:
    if not rows:
        return []
    _, headings, cells = next(iter(seed_cells(rows, alone=True)))
    best = [_best(key, rows) for key in _measured(rows)]
    strong = {(line, 1 + headings.index(name)) for line, name in enumerate(best) if name is not None}
    note = "Bold: the best of a line." if strong else ""
    return [Table(f"Figures, {spread_note(rows)}", ["", *headings], cells, note, strong=strong)]


def _measured(rows: Sequence[SeedRow]) -> list[str]:
    return [key for key in FIGURES if any(math.isfinite(number(row.get(key))) for row in rows)]


def _best(key: str, rows: Sequence[SeedRow]) -> str | None:
    """The name of which the mean is the best one, if one end is better."""
    higher = FIGURES[key].higher_is_better
    means = {str(row["weights"]): number(row.get(key)) for row in mean_rows(rows)}
    known = {name: value for name, value in means.items() if math.isfinite(value)}
    if higher is None or len(known) < 2:
        return None
    return (max if higher else min)(known, key=known.__getitem__)


def _losses(runs: Mapping[str, Recorded]) -> list[Part]:
    histories = {name: steps for name, run in runs.items() if (steps := last_stage(run))}
    found: list[Part] = [Columns(charts)] if (charts := loss_charts(histories)) else []
    if charts := validation_charts(histories):
        found.append(Details("Figures on the images to validate on, in percent", [Columns(charts)]))
    return found


def _classes(rows: Sequence[SeedRow], runs: Mapping[str, Recorded]) -> list[Part]:
    """Tables of classes and groups; of classes only where all runs have the same."""
    means = [row for row in mean_rows(rows) if any(figure.key in row for figure in CLASS_FIGURES)]
    names = {tuple(run.class_names) for run in runs.values() if run.rows}
    shared = next(iter(names)) if len(names) == 1 else ()
    groups = groups_table(means)
    return [*classes_tables(means, shared), *([] if groups is None else [groups])]


def _places(runs: Mapping[str, Recorded]) -> list[Part]:
    sides = {
        f"{name}: {when}": pairs
        for name, run in runs.items()
        for when, pairs in (("before", run.before), ("after", run.after))
        if pairs
    }
    return [places_chart(sides)] if sides else []


def _missing(runs: Mapping[str, Recorded]) -> list[Part]:
    return [Text(f"{name}: {'; '.join(run.missing)}.") for name, run in runs.items() if run.missing]


def _differences(runs: Mapping[str, Recorded]) -> list[Part]:
    """The options that two runs or more have, and not all the same."""
    options = [dict(leaves(run.options)) for run in runs.values()]
    names = dict.fromkeys(name for each in options for name in each)
    lines = [[name, *(each.get(name, ABSENT) for each in options)] for name in names]
    lines = [line for line in lines if len({*line[1:]} - {ABSENT}) > 1]
    return [Table("Options that differ", ["", *runs], lines, numbers=False)] if lines else []


def _commands(runs: Mapping[str, Recorded]) -> list[Part]:
    return [Code(run.command, f"The command of {name}") for name, run in runs.items() if run.command]
