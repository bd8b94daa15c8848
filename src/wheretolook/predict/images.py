"""What an exported network says of many images, written into a folder: scores, masks, overlays."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from wheretolook.errors import DataError
from wheretolook.files import take_name, visible_below, write_json, write_text
from wheretolook.images import IMAGE_SUFFIXES, read_photograph
from wheretolook.predict.network import ExportedNetwork, Prediction
from wheretolook.report.overlay import overlay
from wheretolook.report.style import class_colour

SCORES, LIST = "scores.csv", "predictions.json"
UNSAFE = '<>:"/\\|?*\0'  # what some system allows in no file's name


def image_files(given: Sequence[Path]) -> dict[str, Path]:
    """The images of files and folders, by the names that their results get.

    Args:
        given: image files, and folders whose images count, those in folders inside of them too.

    Raises:
        DataError: one is not there, a folder has no image, or two would have the same name.
    """
    found: dict[str, Path] = {}
    for place in given:
        for name, path in _images_of(place):
            if name in found:
                raise DataError(f"{found[name]} and {path} would both be called {name}; rename one, or go one by one")
            found[name] = path
    return found


def _images_of(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_dir():
        inside = visible_below(place, IMAGE_SUFFIXES)
        if not inside:
            raise DataError(f"expected images in {place}, found none; known are {', '.join(IMAGE_SUFFIXES)}")
        yield from ((path.relative_to(place).with_suffix("").as_posix(), path) for path in inside)
    elif place.is_file():
        yield place.stem, place
    else:
        raise DataError(f"expected an image or a folder of images at {place}, found none; check the path")


def predict_images(
    network: ExportedNetwork, images: Iterable[tuple[str, Path]], folder: Path, *, resize: int | None, top: int
) -> list[dict[str, Any]]:
    """Write `scores.csv` (a row an image, a column a class), `predictions.json`, `masks/` and `overlays/`.

    Args:
        network: the exported network.
        images: names and files.
        folder: where to write.
        resize: length of the longer side in which the network sees the images; None for its own.
        top: how many classes an image has overlays of, those of the largest scores.

    Returns:
        What is in `predictions.json`.

    Raises:
        DataError: an image is broken.
    """
    rows, table, taken = [], io.StringIO(), set[str]()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", "class", *network.class_names])
    for name, path in images:
        pixels = np.array(read_photograph(path))
        prediction = network.predict(pixels, resize)
        best = [int(index) for index in np.argsort(-prediction.class_scores, kind="stable")[:top]]
        scores = [float(f"{score:.6g}") for score in prediction.class_scores]
        writer.writerow([name, network.class_names[best[0]], *scores])
        rows.append(
            {
                "image": name,
                "file": str(path),
                "classes": [{"class": network.class_names[index], "score": scores[index]} for index in best],
                **_drawn(name, pixels, prediction, best, network.class_names, folder, taken),
            }
        )
    write_text(folder / SCORES, table.getvalue())
    write_json(folder / LIST, rows)
    return rows


def _drawn(
    name: str,
    pixels: np.ndarray,
    prediction: Prediction,
    classes: Sequence[int],
    class_names: tuple[str, ...],
    folder: Path,
    taken: set[str],
) -> dict[str, Any]:
    """The image's pictures, and where they are; overlays have none of the names that are taken, and take theirs."""
    files: dict[str, Any] = {}
    if prediction.mask is not None:
        files["mask"] = f"masks/{name}.png"
        _save(mask_picture(prediction.mask, len(class_names)), folder / files["mask"])
    if prediction.attention is not None:
        files["overlays"] = []
        for index in classes:
            safe = "".join("_" if letter in UNSAFE else letter for letter in class_names[index])
            # two classes may have one name, and `a` with `b_c` the one of `a_b` with `c`
            names = (f"overlays/{name}_{safe}{end}.png" for end in chain([""], (f"_{index + n}" for n in count())))
            files["overlays"].append(take_name(names, taken))
            _save(overlay(pixels, prediction.attention[index]), folder / files["overlays"][-1])
    return files


def mask_picture(mask: np.ndarray, classes: int) -> Image.Image:
    """A mask as a picture whose pixels are its values, in the colours of the classes; without where they are too many.

    Args:
        mask: 0 background, 1 + class index.
        classes: how many there are.
    """
    if classes > 254:
        return Image.fromarray(mask.astype(np.uint16))
    picture = Image.fromarray(mask.astype(np.uint8), mode="P")
    colours = [round(255 * channel) for index in range(classes) for channel in to_rgb(class_colour(index))]
    picture.putpalette([0, 0, 0, *colours])
    return picture


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
