"""Made scenes: textured objects on textured backgrounds, a controlled world in which context can be a shortcut.

Each class has a shape and a texture of its own and a home, the kind of background that it is found on in a biased
split. Colours overlap between classes, textures between objects and backgrounds, and light and noise disturb both, so
that the object alone is hard to tell and its home is a temptation. A scene is a function of (seed, split, index) alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.keys import generator
from wheretolook.data.layout import Layout, measured_splits
from wheretolook.data.masks import mask_labels
from wheretolook.data.splits import nothing_left
from wheretolook.data.targets import mask_planes
from wheretolook.data.textures import BACKGROUNDS, CLASSES, SIZE_OF_DESIGN, Surface, blend, signed_distance, texture
from wheretolook.errors import ConfigError
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID, Sample

OBJECT_CONTRAST = 0.2, 0.8  # faint at times, so that shape and context must help
BACKGROUND_CONTRAST = 0.6, 1.0


class Placed(NamedTuple):
    """One object of a scene."""

    class_index: int
    centre: tuple[float, float]  # x, y in shares of the scene
    radius: float  # share of the scene's size
    angle: float


class Plan(NamedTuple):
    """What a scene shows, before it is painted; the first object lies on top."""

    background: int
    objects: tuple[Placed, ...]


class Scenes(ImageDataset):
    """One split of the made scenes.

    Args:
        config: size, classes, number of images, bias and seed.
        split: "train" has the background of its first object's class with probability `bias`; any other name is a
            split of its own, with `val_bias`.

    Raises:
        ConfigError: a number out of its range.
    """

    def __init__(self, config: ScenesOptions, split: str) -> None:
        _check(config)
        self.config = config
        self.split = split
        self.class_names = tuple(surface.name for surface in CLASSES[: config.classes])
        self.names = tuple(f"{split}_{index:05d}" for index in range(config.images))

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as served."""
        return self.config.size, self.config.size

    def classes_in(self, index: int) -> frozenset[int]:
        """The classes that can be seen in a scene, without painting it."""
        x, y = _pixels(self.config.size)
        mask = np.zeros((self.config.size, self.config.size), np.uint8)
        for placed in reversed(_plan(self.config, self.split, _random(self.config, self.split, index)).objects):
            _mark(mask, placed, _outline(placed, x, y, self.config.size)[2])
        return frozenset(value - 1 for value in np.unique(mask).tolist() if 0 < value < VOID)

    def __getitem__(self, index: int) -> Sample:
        name, random = self.names[index], _random(self.config, self.split, index)
        image, mask = _paint(_plan(self.config, self.split, random), self.config.size, random)
        truth = torch.from_numpy(mask.astype(np.int64))
        labels = mask_labels(truth, len(self.class_names))
        return Sample(_tensor(image), truth, labels, mask_planes(truth, labels), True, name)


def open_scenes(config: DataOptions, split: str, training: bool = False) -> Scenes:
    """Open one split of the made scenes: each has scenes of its own, so that none is in two.

    Args:
        config: which scenes.
        split: the split's name.
        training: it is to be trained on.

    Raises:
        ConfigError: options that mean nothing here.
        DataError: the very split validates or tests.
    """
    if config.resize is not None:
        raise ConfigError("made scenes are not resized; give scenes.size in place of resize")
    if training and split in measured_splits(config):
        raise nothing_left(split, split)
    return Scenes(config.scenes, split)


def scene_background(config: ScenesOptions, split: str, index: int) -> str:
    """The kind of background of a scene, for example "grass".

    Args:
        config: the scenes.
        split: the split's name.
        index: the scene's number in it.
    """
    return BACKGROUNDS[_plan(config, split, _random(config, split, index)).background].name


def home_background(class_index: int) -> str:
    """The kind of background that a class is at home on."""
    return BACKGROUNDS[class_index].name


def _check(config: ScenesOptions) -> None:
    if not 2 <= config.classes <= len(CLASSES):
        raise ConfigError(f"made scenes have 2 to {len(CLASSES)} classes, not {config.classes}")
    if config.size < 16 or config.images < 1:
        raise ConfigError(f"made scenes need size >= 16 and images >= 1, not {config.size} and {config.images}")
    if not (0 <= config.bias <= 1 and 0 <= config.val_bias <= 1):
        raise ConfigError(f"bias and val_bias are shares, 0 to 1, not {config.bias} and {config.val_bias}")


def _random(config: ScenesOptions, split: str, index: int) -> np.random.Generator:
    return generator(f"scene of {split}", config.seed, index)


def _plan(config: ScenesOptions, split: str, random: np.random.Generator) -> Plan:
    count = min(random.integers(1, 4), config.classes)
    classes = random.permutation(config.classes)[:count]
    bias = config.bias if split == "train" else config.val_bias
    at_home = random.random() < bias
    anywhere = int(random.integers(config.classes))
    objects = tuple(
        Placed(
            int(index),
            (random.uniform(0.15, 0.85), random.uniform(0.15, 0.85)),
            random.uniform(0.11, 0.24),
            random.uniform(0, 2 * np.pi),
        )
        for index in classes
    )
    return Plan(int(classes[0]) if at_home else anywhere, objects)


def _paint(
    plan: Plan, size: int, random: np.random.Generator
) -> tuple[Float32[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    x, y = _pixels(size)
    image = _cover(BACKGROUNDS[plan.background], BACKGROUND_CONTRAST, x, y, SIZE_OF_DESIGN / size, random)
    mask = np.zeros((size, size), np.uint8)
    for placed in reversed(plan.objects):
        u, v, outside = _outline(placed, x, y, size)
        paint = _cover(CLASSES[placed.class_index], OBJECT_CONTRAST, u, v, SIZE_OF_DESIGN / size, random)
        image = blend(image, paint, np.clip(0.5 - outside, 0, 1))
        _mark(mask, placed, outside)
    return _lit(image, x, y, size, random), mask


def _pixels(size: int) -> tuple[Float32[np.ndarray, "size size"], Float32[np.ndarray, "size size"]]:
    pixels = np.arange(size, dtype=np.float32) + 0.5
    x, y = np.meshgrid(pixels, pixels)
    return x, y


def _outline(
    placed: Placed, x: Float32[np.ndarray, "size size"], y: Float32[np.ndarray, "size size"], size: int
) -> tuple[Float32[np.ndarray, "size size"], ...]:
    """An object's own coordinates, and how many pixels each pixel lies outside of it."""
    u, v = _turned(x - placed.centre[0] * size, y - placed.centre[1] * size, placed.angle)
    return u, v, signed_distance(CLASSES[placed.class_index].shape, u, v, placed.radius * size)


def _mark(mask: UInt8[np.ndarray, "size size"], placed: Placed, outside: Float32[np.ndarray, "size size"]) -> None:
    mask[outside < 0.5] = VOID  # a border of one pixel, half of it on either side
    mask[outside < -0.5] = placed.class_index + 1


def _turned(
    x: Float32[np.ndarray, "size size"], y: Float32[np.ndarray, "size size"], angle: float
) -> tuple[Float32[np.ndarray, "size size"], Float32[np.ndarray, "size size"]]:
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x


def _cover(
    surface: Surface,
    contrast: tuple[float, float],
    x: Float32[np.ndarray, "size size"],
    y: Float32[np.ndarray, "size size"],
    scale: float,
    random: np.random.Generator,
) -> Float32[np.ndarray, "size size 3"]:
    """A surface's texture in its two colours, each of them shifted at random and so overlapping with its neighbours."""
    u, v = _turned(x * np.float32(scale), y * np.float32(scale), random.normal(0, surface.tilt))
    amount = texture(surface.texture, u, v, random)
    first, second = (np.array(colour, np.float32) for colour in surface.colours)
    shift = random.normal(0, surface.spread, (2, 3)).astype(np.float32)
    strength = np.float32(random.uniform(*contrast))
    middle = (first + second) / 2
    return blend(
        np.broadcast_to(middle + strength * (first - middle) + shift[0], (*x.shape, 3)),
        np.broadcast_to(middle + strength * (second - middle) + shift[0] + 0.5 * shift[1], (*x.shape, 3)),
        amount,
    )


def _lit(
    image: Float32[np.ndarray, "size size 3"],
    x: Float32[np.ndarray, "size size"],
    y: Float32[np.ndarray, "size size"],
    size: int,
    random: np.random.Generator,
) -> Float32[np.ndarray, "size size 3"]:
    """Light that falls off in some direction, and the noise of a sensor."""
    across, _ = _turned(x / size - np.float32(0.5), y / size - np.float32(0.5), random.uniform(0, 2 * np.pi))
    light = np.float32(random.uniform(0.8, 1.1)) + np.float32(random.uniform(0, 0.35)) * across
    noise = random.standard_normal(image.shape, np.float32) * np.float32(random.uniform(0.02, 0.07))
    lit: Float32[np.ndarray, "size size 3"] = np.clip(image * light[..., None] + noise, 0, 1)
    return lit


def _tensor(image: Float32[np.ndarray, "size size 3"]) -> Float[Tensor, "3 size size"]:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


MADE_SCENES = Layout(None, open_scenes)
