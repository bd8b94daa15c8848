"""The table of pairs: a line for each class that each image shows."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

from wheretolook.errors import DataError
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


def read_pairs(path: Path) -> list[PairFigures]:
    """Records of pairs as `write_pairs` has written them, but for digits that it leaves out.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read, or is none of ours.
    """
    kinds = get_type_hints(PairFigures)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                PairFigures(**{name: _value(row[name], kind) for name, kind in kinds.items()})
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected a table of pairs as audit writes it, and it cannot be read") from error


def _value(text: str, kind: type) -> Any:
    if kind is bool:
        return text == "1"
    return kind(text) if text or kind is str else math.nan


def _cell(value: object) -> object:
    """A number as short as it is exact enough; nothing for NaN."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return value
