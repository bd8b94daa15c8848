"""Label Studio's own json, whole or "JSON-MIN": what was drawn on each task's image, or chosen for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import numpy as np

from wheretolook.data.brush import brushed
from wheretolook.data.classes import NO_CLASSES, class_index, read_class_names
from wheretolook.data.drawings import BACKGROUND, Shape
from wheretolook.data.exports import (
    ImagesBelow,
    box_of,
    corners,
    entry,
    finite,
    is_of_tasks,
    items,
    open_export,
    read_json,
    whole,
)
from wheretolook.data.layout import Layout
from wheretolook.data.names import normal, say_once
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError
from wheretolook.images import IMAGE_SUFFIXES, image_size
from wheretolook.options.data import DataOptions

FILES = "project-*-at-*.json"  # as the tool names them
CORNERS = 64  # that draw an ellipse
PERCENT = 100


def open_label_studio(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of a project.

    Choices are classes where nothing is drawn in the whole export, and images may then show one class each.

    Args:
        config: its root holds the export and, anywhere below, the images, with or without the eight letters that the
            tool puts before the name of an uploaded file. `classes.txt` gives the classes an order; without it they
            are all labels, sorted.
        split: a name, or the path of a file of names; images are cut 4 : 1, or as lists in `splits/` have it.
        training: leave out what validates or tests.

    Raises:
        DataError: a file that is broken, an image that is not there, or one that two tasks are of.
    """
    root = Path(str(config.root))
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.glob(FILES)))
    found = _read(root, stamps, read_class_names(root), config.mark_radius)
    return open_export(config, split, training, found.images, {}, found.class_names, found.entries, found.drawn)


class _Project(NamedTuple):
    """What all files of a root say."""

    images: ImagesBelow
    class_names: tuple[str, ...]
    entries: dict[str, Entry]
    drawn: bool


class _Region(NamedTuple):
    """One thing that was drawn on an image, or chosen for it as a whole."""

    labels: tuple[str, ...]
    value: Mapping[str, Any]
    size: tuple[int, int] | None  # height and width that the tool saw; None for what was chosen
    where: str


class _Task(NamedTuple):
    """One image as it was annotated."""

    image: str  # as it is written
    regions: list[_Region]
    where: str
    file: Path


@lru_cache(maxsize=2)
def _read(
    root: Path, stamps: tuple[tuple[Path, int, int], ...], listed: tuple[str, ...] | None, radius: float
) -> _Project:
    """Read all files, once for all splits and stages of a run."""
    images = ImagesBelow(root)
    tasks = [task for path, *_ in stamps for task in _tasks(path)]
    drawn = any(region.size is not None for task in tasks for region in task.regions)
    if drawn:
        tasks = [task._replace(regions=_only_drawn(task.regions)) for task in tasks]
    labels = {label for task in tasks for region in task.regions for label in region.labels}
    names = listed or tuple(sorted(label for label in labels if label.lower() not in NO_CLASSES))
    entries: dict[str, Entry] = {}
    for task in tasks:
        name = images.find(task.image, task.file.parent, task.where)
        if name in entries:
            raise DataError(f"{task.where} is of the image '{name}', as another task is; leave one of them")
        entries[name] = _entry(name, images.paths[name], task, names, radius)
    return _Project(images, names, entries, drawn)


def _only_drawn(regions: Sequence[_Region]) -> list[_Region]:
    if any(region.size is None for region in regions):
        say_once("choices of Label Studio's are left out, since classes are drawn", "choices")
    return [region for region in regions if region.size is not None]


def _tasks(path: Path) -> Iterator[_Task]:
    record = read_json(path)
    if not is_of_tasks(record):
        raise DataError(f"{path}: expected a list of tasks, got {str(record)[:60]}; export JSON or JSON-MIN")
    left = 0
    for number, task in enumerate(record, 1):
        where = f"{path}, task {task.get('id', number)}"
        if "annotations" in task:
            data, results = task.get("data"), _chosen(task, where)
        else:
            data, results = task, list(_minimal(task))
        if results is None:
            left += 1
            continue
        regions = [region for result in results for region in _regions(result, where)]
        yield _Task(_image(data, where), regions, where, path)
    if left:
        say_once(f"{path}: {left} of {len(record)} tasks are not annotated, and left out")


def _chosen(task: Mapping[str, Any], where: str) -> list[dict[str, Any]] | None:
    """What was drawn: by the annotator whose work is marked as the truth, or by the last one; None where by nobody."""
    done = [one for one in items(task, "annotations", where) if not one.get("was_cancelled")]
    best = [one for one in done if one.get("ground_truth")] or done
    if len(best) > 1:
        say_once(f"{where} and perhaps others have several annotations; the last one counts", "several annotations")
    return items(best[-1], "result", where) if best else None


def _minimal(task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a task of JSON-MIN, as the whole JSON has them."""
    for key, value in task.items():
        for drawn in value if isinstance(value, list) else []:
            kind = next((key for key in drawn if key.endswith("labels")), None) if isinstance(drawn, dict) else None
            if kind is not None:
                yield {**drawn, "type": kind, "value": drawn}
        if isinstance(value, dict) and "choices" in value:
            yield {"type": "choices", "value": value}
        elif isinstance(value, str) and key in ("choice", "choices"):
            yield {"type": "choices", "value": {"choices": [value]}}


def _regions(result: Mapping[str, Any], where: str) -> Iterator[_Region]:
    """What a result says of classes: nothing where it is a text or a rating, or a shape whose labels stand apart."""
    kind, value = str(result.get("type")), result.get("value")
    if not isinstance(value, dict) or not (kind.endswith("labels") or kind == "choices"):
        return
    where = f"{where}, {kind} {result.get('id', '')}".rstrip()
    labels = value.get(kind)
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
        raise DataError(f"{where}: expected a list of labels, got {str(labels)[:60]}")
    names = tuple(normal(label.strip()) for label in labels)
    if kind == "choices":
        if not {"x", "points", "rle"} & value.keys():  # else it is of a region, and no class
            yield _Region(names, value, None, where)
        return
    if result.get("image_rotation"):
        raise DataError(f"{where} was drawn on an image that was turned in the tool; turn the file, and draw it anew")
    yield _Region(
        names, value, (whole(result, "original_height", where), whole(result, "original_width", where)), where
    )


def _image(data: object, where: str) -> str:
    """The path of a task's image: of a file that was uploaded, served from a folder, or stored elsewhere."""
    written = data if isinstance(data, dict) else {}
    for value in (written.get("image"), *written.values()):
        head, _, query = value.partition("?") if isinstance(value, str) else ("", "", "")
        path = parse_qs(query).get("d", [unquote(head)])[0]
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
            return path
    raise DataError(f"{where}: expected the path of an image among its data, got {', '.join(written) or 'none'}")


def _entry(name: str, image: Path, task: _Task, class_names: tuple[str, ...], radius: float) -> Entry:
    shapes, size = [], None
    for region in task.regions:
        indices = [_index(label, class_names, region.where) for label in region.labels]
        if region.size is None:
            return Entry(name, image, class_indices=frozenset(index for index in indices if index != BACKGROUND))
        size = size or region.size
        if region.size != size:
            raise DataError(f"{region.where} is of another size than what was drawn before it; draw it anew")
        shape = _shape(region, size, image, radius * max(size))
        kept = [index for index in indices if index != BACKGROUND or shape.line is not None]
        shapes += [replace(shape, class_index=index) for index in kept]
    return entry(name, image, shapes, task.where, size)


def _index(label: str, class_names: tuple[str, ...], where: str) -> int:
    if label not in class_names and label.lower() in NO_CLASSES:
        return BACKGROUND
    return class_index(label, class_names, where)


def _shape(region: _Region, size: tuple[int, int], image: Path, radius: float) -> Shape:
    """Where a region is: what its record has says what kind it is of; lengths are in percent of the image's sides."""
    value, where, (height, width) = region.value, region.where, size
    if "rle" in value:
        if not {size, size[::-1]} & {image_size(image)}:
            upright = image_size(image)
            raise DataError(
                f"{where} is of an image of {width}x{height}, but {image} is {upright[1]}x{upright[0]}; make them equal"
            )
        return Shape(None, patch=brushed(value["rle"], size, where))
    scale = np.array([width, height]) / PERCENT
    if isinstance(value.get("points"), list):
        numbers = [number for point in value["points"] for number in finite(point, where, 2)]
        return Shape(None, polygons=(corners(numbers, where) * scale,))
    place = np.array(_numbers(value, ("x", "y"), where)) if {"x", "y"} <= value.keys() else None
    if place is not None and "radiusX" in value:
        turns = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        around = np.stack([np.cos(turns), np.sin(turns)], axis=1) * _numbers(value, ("radiusX", "radiusY"), where)
        return Shape(None, polygons=(_turned(around * scale, value, where) + place * scale,))
    if place is not None and "height" in value:
        far = np.array(_numbers(value, ("width", "height"), where)) * scale
        if not value.get("rotation"):
            return Shape(None, box=box_of((*(place * scale).tolist(), *(place * scale + far).tolist()), where))
        rectangle = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * far
        return Shape(None, polygons=(_turned(rectangle, value, where) + place * scale,))
    if place is not None:
        return Shape(None, line=(place * scale - 0.5)[None], radius=radius)
    say_once(f"{where} and perhaps others mark nothing that is read; they only say that their class is there", "kind")
    return Shape(None)


def _numbers(value: Mapping[str, Any], names: Sequence[str], where: str) -> list[float]:
    return finite([value.get(name) for name in names], where, len(names))


def _turned(around: np.ndarray, value: Mapping[str, Any], where: str) -> np.ndarray:
    """Corners turned about (0, 0) by the degrees that a region says, clockwise as rows go down."""
    (degrees,) = finite([value.get("rotation") or 0], where, 1)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned: np.ndarray = around @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


LABEL_STUDIO = Layout(FILES, open_label_studio, (FILES,))
