"""Groups of images that share an attribute, for the figures of the worst group."""

from collections.abc import Collection
from pathlib import Path

from wheretolook.data.names import image_name
from wheretolook.data.tables import rows
from wheretolook.errors import ConfigError, DataError, nearest
from wheretolook.options.data import DataOptions

TABLES = ("groups.csv", "metadata.csv")  # the second is that of Waterbirds
IMAGE_COLUMNS = ("image", "name", "file", "filename", "img_filename")


def groups_of(config: DataOptions, names: Collection[str], images: Collection[str]) -> dict[str, str]:
    """The groups of a split's images, where the options name a table or its columns; none where they do not.

    Args:
        config: names them.
        names: the images of the split.
        images: the names of all images that there are.

    Raises:
        DataError: the table cannot be read, or has no row for an image of the split.
        ConfigError: it does not have a column that is named.
    """
    if config.groups is None and not config.group_by:
        return {}
    tables = [Path(str(config.root)) / name for name in TABLES]
    path = Path(config.groups) if config.groups else next((path for path in tables if path.is_file()), tables[0])
    groups = read_groups(path, config.group_by, images)
    missing = [name for name in names if name not in groups]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing)} of {len(names)} images, first '{missing[0]}'; add them, or leave "
            "groups and group_by out"
        )
    return groups


def read_groups(path: Path, columns: Collection[str], images: Collection[str]) -> dict[str, str]:
    """The group of each image that a table lists: what stands in the chosen columns, joined by commas.

    Args:
        path: a table with a column of images (image, name, file, filename or img_filename) and columns of attributes.
        columns: which attributes make the groups; none where the table has a single one.
        images: the names of the images that there are, which the table may write with their suffixes.

    Raises:
        DataError: the table cannot be read or has no column of images.
        ConfigError: a column that it does not have, or none chosen of several.
    """
    table = list(rows(path, ()))
    known = list(table[0][1]) if table else []
    images_in = next((name for name in IMAGE_COLUMNS if name in known), None)
    if images_in is None:
        raise DataError(f"{path} has no column of images; expected a row an image and a column {IMAGE_COLUMNS[0]}")
    attributes = [name for name in known if name != images_in]
    if not columns and len(attributes) != 1:
        raise ConfigError(f"{path} has the columns {', '.join(attributes)}; choose with group_by which make the groups")
    for column in columns:
        if column not in attributes:
            raise ConfigError(
                f"{path} has no column '{column}'{nearest(column, attributes)}; it has {', '.join(attributes)}"
            )
    chosen = columns or attributes
    return {image_name(row[images_in], images): ", ".join(row[name] for name in chosen) for _, row in table}
