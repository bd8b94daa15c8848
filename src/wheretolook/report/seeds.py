"""Tables over seeds: mean and spread of each row, and what guidance changed, compared seed by seed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from rich.table import Table

from wheretolook.metrics.figures import FIGURES
from wheretolook.report.tables import ABSENT, markdown_table, number, text_table

SeedRow = Mapping[str, object]
"""An evaluation's row with `seed`, the number of the seed that it is of."""

BySeed = dict[int, SeedRow]


def mean_rows(rows: Sequence[SeedRow]) -> list[dict[str, object]]:
    """One row for each name, in order, with the mean of every figure over the seeds that have it.

    Args:
        rows: the evaluations of every seed.

    Example:
        >>> mean_rows([{"weights": "a", "f1": 0.5, "seed": 0}, {"weights": "a", "f1": 1.0, "seed": 1}])
        [{'weights': 'a', 'f1': 0.75}]
    """
    found: list[dict[str, object]] = []
    for name, seeds in rows_by_name(rows).items():
        keys = [key for key in next(iter(seeds.values())) if key not in ("weights", "seed")]
        means = {key: _mean([row.get(key) for row in seeds.values()]) for key in keys}
        found.append({"weights": name, **means})
    return found


def seed_markdown(rows: Sequence[SeedRow]) -> str:
    """Mean and spread of every row, then the paired differences, as GitHub Markdown tables.

    Args:
        rows: the evaluations of every seed, shares in [0, 1]; the last name is compared with each other one.

    Example:
        >>> rows = [{"weights": name, "f1": f1, "seed": seed}
        ...     for name, f1s in (("Control", (0.5, 0.75)), ("Guided", (0.75, 0.875))) for seed, f1 in enumerate(f1s)]
        >>> print(seed_markdown(rows), end="")
        |  | Seeds | F1 |
        | :-- | --: | --: |
        | Control | 2 | 62.50 ± 17.68 |
        | Guided | 2 | 81.25 ± 8.84 |
        <BLANKLINE>
        | Paired difference | Seeds | F1 |
        | :-- | --: | --: |
        | Guided - Control | 2 | +18.75 ± 8.84 |
    """
    tables = []
    for title, lines in (("", rows_by_name(rows)), ("Paired difference", dict(_differences(rows)))):
        keys = _measured(lines)
        cells = [
            [name, str(len(seeds)), *(_cell(key, seeds, signed=bool(title)) for key in keys)]
            for name, seeds in lines.items()
        ]
        if cells:
            tables.append(markdown_table([title, "Seeds", *(FIGURES[key].heading for key in keys)], cells))
    return "\n".join(tables)


def seed_tables(rows: Sequence[SeedRow]) -> Iterator[Table]:
    """The same tables for the terminal, one line a figure.

    Args:
        rows: the evaluations of every seed, shares in [0, 1]; the last name is compared with each other one.
    """
    for title, headings, cells in seed_cells(rows):
        yield text_table([title, *headings], cells, None, spread_note(rows))


def seed_cells(rows: Sequence[SeedRow], *, alone: bool = False) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and lines of the table of all rows, then of that of their paired differences; a line a figure.

    Args:
        rows: the evaluations of every seed, shares in [0, 1]; the last name is compared with each other one.
        alone: name each figure in full, as where its line is read by itself.
    """
    for title, lines in (("", rows_by_name(rows)), ("Paired difference", dict(_differences(rows)))):
        if lines:
            cells = [
                [
                    (FIGURES[key].alone if alone else "") or FIGURES[key].heading,
                    *(_cell(key, seeds, signed=bool(title)) for seeds in lines.values()),
                ]
                for key in _measured(lines)
            ]
            yield title, list(lines), cells


def spread_note(rows: Sequence[SeedRow]) -> str:
    """What the numbers of these tables are.

    Args:
        rows: the evaluations of every seed.
    """
    spread = ", mean ± standard deviation over seeds" if any(row["seed"] for row in rows) else ""
    return f"shares in percent{spread}"


def rows_by_name(rows: Sequence[SeedRow]) -> dict[str, BySeed]:
    """The rows of each name by seed, in the order in which the names come.

    Args:
        rows: the evaluations of every seed.
    """
    found: dict[str, BySeed] = {}
    for row in rows:
        found.setdefault(str(row["weights"]), {})[int(number(row["seed"]))] = row
    return found


def _differences(rows: Sequence[SeedRow]) -> Iterator[tuple[str, BySeed]]:
    """The last name minus each of the others, seed by seed; counts are no figures to compare."""
    *others, (last, guided) = rows_by_name(rows).items()
    keys = [key for key, figure in FIGURES.items() if figure.unit != "count"]
    for name, seeds in others:
        both = sorted(guided.keys() & seeds.keys())
        pairs = {seed: (guided[seed], seeds[seed]) for seed in both}
        yield (
            f"{last} - {name}",
            {
                seed: {key: number(ours.get(key)) - number(theirs.get(key)) for key in keys}
                for seed, (ours, theirs) in pairs.items()
            },
        )


def _measured(lines: Mapping[str, BySeed]) -> list[str]:
    rows = [row for seeds in lines.values() for row in seeds.values()]
    return [key for key in FIGURES if any(math.isfinite(number(row.get(key))) for row in rows)]


def _cell(key: str, seeds: BySeed, *, signed: bool) -> str:
    """Mean and standard deviation, with two decimals; the mean alone where there is but one value."""
    values = [value for row in seeds.values() if math.isfinite(value := number(row.get(key)))]
    if not values:
        return ABSENT
    figure, mean = FIGURES[key], fmean(values)
    sign = "+" if signed and mean >= 0 else ""
    if len(values) == 1 or figure.unit == "count":
        return f"{sign}{figure.printed(mean)}"
    return f"{sign}{figure.printed(mean, most=2)} ± {figure.printed(stdev(values), most=2)}"


def _mean(values: Sequence[object]) -> object:
    """The mean of figures, or of lists or mappings of them place by place; None where there is none."""
    named = [value for value in values if isinstance(value, Mapping)]
    if named:
        names = dict.fromkeys(name for value in named for name in value)
        return {name: _mean([value.get(name) for value in named]) for name in names}
    lists = [value for value in values if isinstance(value, Sequence) and not isinstance(value, str)]
    if lists:
        return [_mean(column) for column in zip(*lists, strict=True)]
    known = [value for value in map(number, values) if math.isfinite(value)]
    return fmean(known) if known else None
