"""The table of pairs: a line for each class that each image shows."""

import csv
from collections.abc import Iterable
from pathlib import Path

from wheretolook.evaluation.pairs import PairFigures
from wheretolook.files import replacing

PAIRS_FILE = "pairs.csv"


def write_pairs(path: Path, pairs: Iterable[PairFigures]) -> None:
    """Write records of pairs as CSV, whole or not at all: shares in [0, 1], an empty cell for what is not known.

    Args:
        path: the file.
        pairs: in the order of the lines.

    Raises:
        DataError: `path` cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PairFigures._fields)
        writer.writerows([_cell(value) for value in pair] for pair in pairs)


def _cell(value: object) -> object:
    """A number as short as it is exact enough; nothing for NaN."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return value
