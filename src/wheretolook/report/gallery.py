"""The gallery of a run: pictures of chosen pairs before and after, drawn once and kept beside the run's figures."""

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wheretolook.errors import DataError, reason
from wheretolook.files import write_json
from wheretolook.images import resized
from wheretolook.records import VOID, Explanation, side_lengths
from wheretolook.report.changes import Change, answers
from wheretolook.report.components import THUMBNAIL, Card, Gallery, Picture, Slide, Slider, Tone, thumbnail
from wheretolook.report.overlay import overlay, sized
from wheretolook.report.paint import grey, painted, plain
from wheretolook.report.style import class_colour

GALLERY_FILE = "gallery.json"
SLIDE = 480  # pixels of the longer side of a picture to slide over
SLIDES = 4  # the largest gains and losses
CLASSES_NAMED = 24
COLOUR = re.compile("#[0-9a-f]{6}")
LEAST = 0.005  # a smaller change is neither a gain nor a loss
RAMP = "attention, from none to the larger maximum of both maps; lines at 20 % and 50 % of each map's own"


def write_gallery(path: Path, chosen: Sequence[Change], class_names: Sequence[str], total: int) -> None:
    """Draw chosen pairs and write the pictures down.

    Args:
        path: the JSON file.
        chosen: the most telling ones first; see `changes.Telling`.
        class_names: of all classes, without background.
        total: of how many they were chosen.

    Raises:
        DataError: `path` cannot be written.
    """
    gallery, slider = drawn(chosen, class_names, total)
    parts = {"gallery": asdict(gallery), "slider": asdict(slider)}
    write_json(path, _coded(parts))


def drawn(chosen: Sequence[Change], class_names: Sequence[str], total: int) -> tuple[Gallery, Slider]:
    """The gallery and the slider of chosen pairs.

    Args:
        chosen: the most telling ones first.
        class_names: of all classes, without background.
        total: of how many they were chosen.
    """
    annotated = any(change.before.annotated for change in chosen)
    what = "attention on the object" if annotated else "the class's probability"
    rule = f"The largest rises and falls of {what} in turn, then some at random."
    gallery = Gallery(
        "Before and after",
        [_card(change) for change in chosen],
        total,
        f"rise of {what}",
        rule,
        _legend(chosen, class_names),
        RAMP,
    )
    return gallery, Slider("Slide between before and after", [_slide(change) for change in chosen[:SLIDES]])


def read_gallery(path: Path) -> tuple[Gallery, Slider]:
    """Read what `write_gallery` wrote.

    Args:
        path: the JSON file.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        gallery = {**parts["gallery"], "cards": [_read_card(card) for card in parts["gallery"]["cards"]]}
        slides = [
            Slide(str(slide["name"]), _read_picture(slide["before"]), _read_picture(slide["after"]))
            for slide in parts["slider"]["slides"]
        ]
        return Gallery(**{**gallery, "legend": _colours(gallery["legend"])}), Slider(
            **{**parts["slider"], "slides": slides}
        )
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected the pictures of a run, got another file; remove it") from error


def _read_card(card: Mapping[str, Any]) -> Card:
    pictures = [_read_picture(picture) for picture in card["pictures"]]
    return Card(**{**card, "pictures": pictures, "facts": _pairs(card["facts"])})


def _read_picture(picture: Mapping[str, Any]) -> Picture:
    return Picture(b64decode(picture["data"], validate=True), str(picture["alt"]), str(picture["caption"]))


def _pairs(values: Sequence[Sequence[object]]) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in values]


def _colours(legend: Sequence[Sequence[object]]) -> list[tuple[str, str]]:
    """Names and colours; whatever else is in place of a colour would be a style of the page."""
    pairs = _pairs(legend)
    if not all(COLOUR.fullmatch(colour) for _, colour in pairs):
        raise ValueError("no colour")
    return pairs


def _coded(value: object) -> object:
    """The value with bytes as text."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case dict():
            return {key: _coded(item) for key, item in value.items()}
        case list() | tuple():
            return [_coded(item) for item in value]
    return value


def _card(change: Change) -> Card:
    before, after = change.comparison.before, change.comparison.after
    name = change.before.class_name
    pictures = [thumbnail(sized(before.image, THUMBNAIL), before.name, "image")]
    if change.before.annotated:
        pictures.append(thumbnail(_mask(before, _truth(before)), f"where the {name} is", "truth"))
    for when, shown in (("before", before), ("after", after)):
        if shown.prediction is not None:
            pixels = _mask(shown, shown.prediction)
            pictures.append(thumbnail(pixels, f"segmentation {when}", f"segmentation {when}"))
    pictures += _attention(change, THUMBNAIL)
    gain = change.gain
    return Card(
        title=before.name,
        pictures=pictures,
        class_name=name,
        group=change.before.group,
        gain=round(100 * gain, 1) if math.isfinite(gain) else None,
        facts=facts(change),
        tone=tone_of(gain),
    )


def facts(change: Change) -> list[tuple[str, str]]:
    """What is said of a change beside its pictures: where attention lies, and how sure and right the network is.

    Args:
        change: of one class in one image.
    """
    before, after = change.before, change.after
    found = []
    if before.annotated:
        points = f"{100 * change.gain:+z.0f} points"
        found.append(("attention on the object", f"{_arrow(before.energy, after.energy)} ({points})"))
    found.append(("probability", _arrow(before.probability, after.probability)))
    return [*found, ("answer", answers(before, after))]


def _arrow(before: float, after: float) -> str:
    return f"{100 * before:.0f} \N{RIGHTWARDS ARROW} {100 * after:.0f} %"


def tone_of(gain: float) -> Tone:
    """Whether a change is good news.

    Args:
        gain: in [-1, 1].
    """
    if not abs(gain) >= LEAST:
        return "unclear"
    return "good" if gain > 0 else "bad"


def _slide(change: Change) -> Slide:
    before, after = _attention(change, SLIDE)
    return Slide(f"{change.before.class_name} in {change.before.name}", before, after)


def _attention(change: Change, side: int) -> list[Picture]:
    """Both maps on their common scale."""
    both = change.comparison.before, change.comparison.after
    scale = max(float(shown.attention.max()) for shown in both) or None
    pictures = []
    for when, shown in zip(("before", "after"), both, strict=True):
        pixels = overlay(sized(shown.image, side), plain(shown.attention), scale=scale)
        share = "" if math.isnan(shown.energy_inside) else f"{100 * shown.energy_inside:.0f} % on the object"
        said = share if shown.attention.any() else "empty"
        caption = " ".join(filter(None, (f"attention {when}:" if said else f"attention {when}", said)))
        alt = f"{caption}, for {change.before.class_name}"
        pictures.append(thumbnail(pixels, alt, caption if side == THUMBNAIL else said, side=side))
    return pictures


def _mask(shown: Explanation, mask: Tensor) -> np.ndarray:
    """A mask in the colours of its classes over the grey image."""
    size = resized(side_lengths(shown.image), THUMBNAIL)
    image = F.interpolate(shown.image[None], size, mode="bilinear", antialias=True)[0]
    values = F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.int16)
    return painted(grey(image), values, values == VOID)


def _truth(shown: Explanation) -> Tensor:
    """The mask, or where there is none the plane of the class as one."""
    if (shown.truth != VOID).any():
        return shown.truth
    plane = torch.where(shown.target == 1, 1 + shown.class_index, 0)
    return torch.where(shown.target == VOID, VOID, plane)


def _legend(chosen: Sequence[Change], class_names: Sequence[str]) -> list[tuple[str, str]]:
    """The classes that occur in masks and segmentations, with their colours."""
    values: set[int] = set()
    for change in chosen:
        before, after = change.comparison.before, change.comparison.after
        masks = [_truth(before)] if change.before.annotated else []
        masks += [shown.prediction for shown in (before, after) if shown.prediction is not None]
        values |= {value for mask in masks for value in mask.unique().tolist()}
    seen = sorted(values - {0, VOID})
    return [(class_names[value - 1], class_colour(value - 1)) for value in seen[:CLASSES_NAMED]]
