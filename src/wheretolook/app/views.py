"""What the page shows: from networks, an image and a class to numbers and pictures. Nothing here knows of the page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from wheretolook.attention.maps import normalised
from wheretolook.attention.methods import attention_maps
from wheretolook.errors import DataError, ImageSizeError, WhereToLookError
from wheretolook.evaluation.exchange import mean_colour
from wheretolook.images import opened, oriented_size, resized
from wheretolook.losses.mining import masked_images, soft_mask
from wheretolook.metrics.attention import energy_chance, energy_inside
from wheretolook.options.objective import OF_TOKENS, Method
from wheretolook.records import GuidedNetwork, GuidedOutput, side_lengths
from wheretolook.report.overlay import overlay, sized
from wheretolook.report.paint import grey, painted

MOST_PIXELS = 64_000_000  # of an image file: a phone's 48 megapixels pass, a bomb does not
SHOWN = 520  # pixels that attention is drawn at, at least: lines over a small image are as fine as any
LONGEST = 640  # pixels of an image's longer side, unless the data's size is given
LOOK_COLOUR, AVOID_COLOUR = (0, 200, 83), (213, 0, 0)  # of the two brushes

Pixels = UInt8[np.ndarray, "height width 3"]
Zone = Bool[np.ndarray, "_ _"]


class Fit(NamedTuple):
    """At which size networks take an image.

    Args:
        resize: length of the longer side; None for what follows.
        shortest: length of the shorter side that the networks were made for; None for the image's own size.
    """

    resize: int | None = None
    shortest: int | None = None

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of an image of that height and width, once it is fitted; never longer than `LONGEST`.

        Example:
            >>> Fit().size((3000, 4000)), Fit(resize=128).size((60, 64)), Fit(shortest=224).size((300, 450))
            ((480, 640), (120, 128), (224, 336))
        """
        if self.resize is not None:
            return resized(size, self.resize)
        longest = max(size) if self.shortest is None else round(max(size) * self.shortest / min(size))
        return resized(size, min(longest, LONGEST))


class Picture(NamedTuple):
    """An image as the networks take it.

    Args:
        name: what it is called, without suffix.
        pixels: RGB.
        size: height and width of the upright image in its file.
        file: where it is; None for a made one.
        class_index: a class that it is known to show; None where nothing is known.
    """

    name: str
    pixels: Pixels
    size: tuple[int, int]
    file: Path | None
    class_index: int | None = None


class Look(NamedTuple):
    """What one network says about an image, and where it looks for one class.

    Args:
        chances: of every class.
        attention: after its ReLU, not normalised.
        prediction: 0 background, 1 + class index; None where the network does not segment.
    """

    chances: Float[np.ndarray, " classes"]
    attention: Float[np.ndarray, "height width"]
    prediction: Int[np.ndarray, "height width"] | None


class Erased(NamedTuple):
    """An image without what a network attends to, and what the network says of it."""

    pixels: Pixels
    chances: Float[np.ndarray, " classes"]


class Inside(NamedTuple):
    """How much of a map's energy lies in a zone, and how much of the image the zone is; both in [0, 1]."""

    energy: float
    area: float


def open_picture(path: Path, fit: Fit | None = None, name: str | None = None) -> Picture:
    """Read an image file, upright, at the size that networks take it in.

    Args:
        path: the file, of whatever name: it may be no image at all.
        fit: at which size; None for its own, up to `LONGEST`.
        name: what to call it; None for the file's name.

    Raises:
        DataError: it is no image, broken, or has more pixels than `MOST_PIXELS`.
    """
    size = oriented_size(path)[0]
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(
            f"{path.name} has {size[0] * size[1]:,} pixels; expected at most {MOST_PIXELS:,}: make it smaller"
        )
    with opened(path, "image") as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{path.name} has mode {image.mode}; expected 8 bits a channel: convert it")
        taken = (fit or Fit()).size(size)
        image.draft("RGB", (4 * max(taken),) * 2)  # of a JPEG no more than that is decoded
        pixels = _at_size(ImageOps.exif_transpose(image).convert("RGB"), taken)
    return Picture(name or path.stem, pixels, size, path)


def made_picture(image: Float[Tensor, "3 height width"], name: str, fit: Fit | None = None) -> Picture:
    """An image that comes from no file.

    Args:
        image: RGB in [0, 1].
        name: what it is called.
        fit: as of `open_picture`.
    """
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    size = side_lengths(image)
    return Picture(name, _at_size(Image.fromarray(pixels), (fit or Fit()).size(size)), size, None)


def _at_size(image: Image.Image, size: tuple[int, int]) -> Pixels:
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(image)


def look(
    network: GuidedNetwork, pixels: Pixels, class_index: int | None, method: Method, *, exclusive: bool
) -> tuple[int, Look]:
    """Run an image through a network.

    Args:
        network: in evaluation mode; nobody else uses it meanwhile.
        pixels: the image.
        class_index: whose attention is wanted; None for the likeliest class.
        method: how the map is made.
        exclusive: an image shows exactly one class, so that chances are those of a softmax; otherwise of sigmoids.

    Returns:
        The class, and what there is to see.

    Raises:
        ImageSizeError: the network takes no image of that size, and none of its own either.
        ConfigError: the network has no maps of that method.
    """
    images = _input(network, pixels)
    with _attending(network, method):
        output, taken = _passed(network, images, segment=True)
        chances = _chances(output, exclusive)
        chosen = int(chances.argmax()) if class_index is None else class_index
        maps = attention_maps(output, [chosen], method=method, size=taken).detach()
    size = side_lengths(images)
    if taken != size:
        maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    prediction = None
    if output.mask_scores is not None:
        values = output.mask_scores.detach().argmax(dim=1, keepdim=True)
        prediction = F.interpolate(values.float(), size, mode="nearest")[0, 0].long().cpu().numpy()
    return chosen, Look(chances, maps[0, 0].float().cpu().numpy(), prediction)


def erase(
    network: GuidedNetwork,
    pixels: Pixels,
    attention: Float[np.ndarray, "height width"],
    threshold: float,
    *,
    exclusive: bool,
) -> Erased:
    """Take away what the network attends to and ask it again: what the mining loss sees.

    Args:
        network: in evaluation mode.
        pixels: the image.
        attention: its map, as `look` gives it.
        threshold: share of the map's range at which the mask is one half.
        exclusive: as of `look`.

    Source: arXiv:1802.10171 eq. 3 and 4.
    """
    images = _input(network, pixels)
    mask = soft_mask(normalised(torch.from_numpy(attention)[None].to(images)), threshold)
    output, _ = _passed(network, masked_images(images, mask), segment=False)
    share = mask[0, :, :, None].cpu().numpy()
    mixed = (1 - share) * pixels + share * 255 * mean_colour(network.preprocessing).numpy()
    return Erased((mixed + 0.5).clip(0, 255).astype(np.uint8), _chances(output, exclusive))


def attention_pictures(pixels: Pixels, looks: Sequence[Look], opacity: float) -> list[Image.Image]:
    """The image under each network's attention, on one scale, so that equal attention has equal colour.

    Args:
        pixels: the image.
        looks: of one class.
        opacity: of the largest attention, in [0, 1].
    """
    scale = max(float(seen.attention.max()) for seen in looks) or None
    ground = sized(pixels, max(SHOWN, *pixels.shape[:2]))
    return [overlay(ground, seen.attention, opacity=opacity, scale=scale) for seen in looks]


def segmentation_picture(pixels: Pixels, prediction: Int[np.ndarray, "height width"]) -> Pixels:
    """The segmentation in the colours of its classes over the grey image."""
    values = torch.from_numpy(prediction)
    background = grey(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    return (painted(background, values, torch.zeros_like(values, dtype=torch.bool)) * 255).round().astype(np.uint8)


def drawn_zones(layers: Sequence[UInt8[np.ndarray, "_ _ 4"]], size: tuple[int, int]) -> tuple[Zone, Zone]:
    """Where somebody has drawn that the network should look, and where it must not.

    Args:
        layers: what was drawn, RGBA, the lowest first; each pixel is of the brush whose colour is nearer.
        size: height and width of the zones.
    """
    look_here, avoid = np.zeros(size, bool), np.zeros(size, bool)
    for layer in layers:
        if layer.shape[:2] != size:
            layer = np.array(Image.fromarray(layer).resize(size[::-1], Image.Resampling.NEAREST))
        drawn = layer[..., 3] > 127
        colour = layer[..., :3].astype(int)
        distances = [np.square(colour - np.array(brush)).sum(axis=2) for brush in (LOOK_COLOUR, AVOID_COLOUR)]
        nearer = distances[0] <= distances[1]
        look_here = np.where(drawn, nearer, look_here)
        avoid = np.where(drawn, ~nearer, avoid)
    return look_here, avoid


def inside(attention: Float[np.ndarray, "height width"], zone: Bool[np.ndarray, "height width"]) -> Inside:
    """How much of the attention lies in a zone."""
    maps, target = torch.from_numpy(attention)[None], torch.from_numpy(zone)[None]
    valid = torch.ones_like(target)
    return Inside(float(energy_inside(maps, target, valid)), float(energy_chance(target, valid)))


def usable_methods(network: GuidedNetwork) -> list[Method]:
    """The methods that make maps of a network: some are of transformers alone, one of a single linear layer.

    Args:
        network: in evaluation mode.
    """
    blank = np.zeros((64, 64, 3), np.uint8)
    found: list[Method] = []
    for method in get_args(Method):
        try:
            if method == "cam" or method in OF_TOKENS:
                look(network, blank, 0, method, exclusive=False)
            found.append(method)
        except WhereToLookError:
            continue
    return found


@contextmanager
def _attending(network: GuidedNetwork, method: Method) -> Iterator[None]:
    """A method is told to a network before its forward, which records what the method needs."""
    before, network.attention = network.attention, method
    try:
        yield
    finally:
        network.attention = before


def _input(network: GuidedNetwork, pixels: Pixels) -> Float[Tensor, "1 3 height width"]:
    device = next(network.parameters()).device
    return network.preprocessing(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device).float() / 255)


def _passed(network: GuidedNetwork, images: Tensor, *, segment: bool) -> tuple[GuidedOutput, tuple[int, int]]:
    """The output, and the size of image that it is of: the network's own where it refuses this one."""
    with torch.no_grad():
        try:
            return network(images, segment=segment), side_lengths(images)
        except ImageSizeError:
            own = getattr(network, "input_size", None)
            if own is None:
                raise
            squeezed = F.interpolate(images, own, mode="bilinear", align_corners=False, antialias=True)
            return network(squeezed, segment=segment), own


def _chances(output: GuidedOutput, exclusive: bool) -> Float[np.ndarray, " classes"]:
    scores = output.class_scores[0].detach().float()
    found: np.ndarray = (scores.softmax(dim=0) if exclusive else scores.sigmoid()).cpu().numpy()
    return found
