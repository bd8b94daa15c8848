"""Tables of comma-separated values: each row with the words that say where it is."""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from wheretolook.data.names import image_name, normal
from wheretolook.errors import DataError, nearest, reason

Row = dict[str, str]


def rows(path: Path, header: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
    """Each row of a table, with the words that say where it is.

    Args:
        path: the table.
        header: columns that it must have; others come along.

    Raises:
        DataError: the file cannot be read, is no table, lacks a column, or has a row that is too long.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            if missing := [name for name in header if name not in (table.fieldnames or ())]:
                raise DataError(f"{path} has no column '{missing[0]}'; expected the header {','.join(header)}")
            for row in table:
                where = f"{path}, line {table.line_num}"
                if None in row:  # where DictReader puts what the header has no column for
                    raise DataError(
                        f"{where}: expected {len(table.fieldnames or ())} columns, got more; "
                        "separate the classes of an image by spaces or semicolons, or quote them"
                    )
                yield where, {name: normal(cell or "").strip() for name, cell in row.items()}
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of comma-separated values in UTF-8; save it as such") from error


def known_image(written: str, images: Collection[str], where: str) -> str:
    """The image that a row names.

    Args:
        written: its name, with or without suffix.
        images: the names of the images that there are.
        where: which row it is, for the message.

    Raises:
        DataError: there is no such image.
    """
    name = image_name(written, images)
    if name not in images:
        raise DataError(f"{where}: there is no image '{written}' in the folder images{nearest(written, images)}")
    return name
