"""The shapes, textures and colours that the made scenes are painted with."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "height width"]
Colour = tuple[float, float, float]
Texture = Literal["stripes", "dots", "checks", "clouds", "gradient", "ripples", "weave", "grain"]
Shape = Literal["disc", "square", "triangle", "star", "ring", "cross", "crescent", "lozenge"]
TAU = np.float32(2 * np.pi)
SIZE_OF_DESIGN = 64  # textures are given in pixels of a scene of this size


class Surface(NamedTuple):
    """A class of objects or a kind of background.

    Args:
        name: what it is called.
        texture: its pattern.
        colours: of the pattern's two extremes, RGB in [0, 1].
        shape: an object's outline; a background's does not show.
        spread: standard deviation of each scene's shift of the colours.
        tilt: standard deviation of the pattern's rotation in radians.
    """

    name: str
    texture: Texture
    colours: tuple[Colour, Colour]
    shape: Shape = "square"
    spread: float = 0.08
    tilt: float = 0.15


CLASSES = (
    Surface("striped_disc", "stripes", ((0.78, 0.46, 0.36), (0.94, 0.80, 0.60)), "disc"),
    Surface("dotted_square", "dots", ((0.76, 0.52, 0.36), (0.95, 0.84, 0.64)), "square"),
    Surface("checked_triangle", "checks", ((0.68, 0.44, 0.40), (0.90, 0.74, 0.56)), "triangle"),
    Surface("cloudy_star", "clouds", ((0.88, 0.68, 0.42), (0.76, 0.48, 0.42)), "star"),
    Surface("rippled_ring", "ripples", ((0.66, 0.46, 0.48), (0.90, 0.74, 0.62)), "ring"),
    Surface("woven_cross", "weave", ((0.68, 0.50, 0.38), (0.92, 0.78, 0.58)), "cross"),
    Surface("shaded_crescent", "gradient", ((0.92, 0.76, 0.50), (0.70, 0.44, 0.44)), "crescent"),
    Surface("grainy_lozenge", "grain", ((0.72, 0.50, 0.42), (0.92, 0.72, 0.54)), "lozenge"),
)

# The n-th is home to the n-th class. No class has its home's texture.
BACKGROUNDS = (
    Surface("sky", "clouds", ((0.45, 0.62, 0.80), (0.82, 0.88, 0.92))),
    Surface("field", "stripes", ((0.36, 0.50, 0.28), (0.62, 0.68, 0.38)), tilt=0.5),
    Surface("water", "ripples", ((0.16, 0.38, 0.48), (0.40, 0.62, 0.66))),
    Surface("sand", "grain", ((0.66, 0.56, 0.42), (0.86, 0.78, 0.62))),
    Surface("meadow", "dots", ((0.30, 0.46, 0.34), (0.66, 0.74, 0.60))),
    Surface("tiles", "checks", ((0.48, 0.50, 0.56), (0.74, 0.76, 0.78))),
    Surface("cloth", "weave", ((0.44, 0.36, 0.48), (0.66, 0.60, 0.66))),
    Surface("dusk", "gradient", ((0.28, 0.30, 0.46), (0.82, 0.62, 0.56)), tilt=0.3),
)


def texture(kind: Texture, x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    """A pattern in [0, 1], with period, phase and details of its own each time.

    Args:
        kind: which pattern.
        x: coordinates in pixels of a 64-pixel scene.
        y: the same, downwards.
        random: where period and phase come from.
    """
    pace = TAU / np.float32(random.uniform(5, 9))
    phase = random.uniform(0, 2 * np.pi, 2).astype(np.float32)
    return _TEXTURES[kind](x * pace + phase[0], y * pace + phase[1], random)


def _soft(wave: Plane, sharpness: float = 3.0) -> Plane:
    """A wave round 0 as a pattern with soft edges in [0, 1]."""
    pattern: Plane = 0.5 + 0.5 * np.tanh(np.float32(sharpness) * wave)
    return pattern


def _clouds(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    waves = random.normal(0, 0.35, (5, 2)).astype(np.float32)
    phases = random.uniform(0, 2 * np.pi, 5).astype(np.float32)
    total = sum(np.sin(a * x + b * y + phase) for (a, b), phase in zip(waves, phases, strict=True))
    return _soft(np.asarray(total, np.float32), 0.5)


def _gradient(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    ramp = y + np.sin(x * np.float32(0.3))
    low, high = ramp.min(), ramp.max()
    pattern: Plane = (ramp - low) / (high - low)
    return pattern


def _ripples(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    a, b = random.uniform(-20, 20, 2).astype(np.float32)
    return _soft(np.sin(np.hypot(x - a, y - b)), 1.5)


def _weave(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    over = np.sin(x / 2) * np.sin(y / 2) > 0
    pattern: Plane = np.where(over, np.abs(np.sin(x)), np.float32(0.8) * np.abs(np.sin(y)))
    return pattern


def _grain(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    return _soft(random.standard_normal(x.shape, np.float32), 0.7)


_TEXTURES: dict[str, Callable[[Plane, Plane, np.random.Generator], Plane]] = {
    "stripes": lambda x, y, random: _soft(np.sin(x)),
    "dots": lambda x, y, random: _soft(np.cos(x) + np.cos(y) - np.float32(0.7)),
    "checks": lambda x, y, random: _soft(np.sin(x / 2) * np.sin(y / 2), 6.0),
    "clouds": _clouds,
    "gradient": _gradient,
    "ripples": _ripples,
    "weave": _weave,
    "grain": _grain,
}


def signed_distance(shape: Shape, x: Plane, y: Plane, radius: float) -> Plane:
    """Pixels from a shape's outline, negative inside; exact near straight sides, close to it elsewhere.

    Args:
        shape: which outline.
        x: coordinates relative to the shape's centre, in pixels.
        y: the same, downwards.
        radius: about half of the shape's extent, in pixels.

    Example:
        >>> origin = np.zeros((1, 1), np.float32)
        >>> signed_distance("disc", origin, origin, 5.0)
        array([[-5.]], dtype=float32)
    """
    return _SHAPES[shape](x, y, np.float32(radius))


def _box(x: Plane, y: Plane, half_width: np.float32, half_height: np.float32) -> Plane:
    distance: Plane = np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)
    return distance


def _polygon(x: Plane, y: Plane, apothem: np.float32, sides: int) -> Plane:
    angles = np.arange(sides, dtype=np.float32) * (TAU / sides)
    distance: Plane = np.max([np.cos(angle) * x + np.sin(angle) * y for angle in angles], axis=0) - apothem
    return distance


def _star(x: Plane, y: Plane, radius: np.float32) -> Plane:
    """Five points: a circle whose radius swings with the angle, divided by the steepness of that swing."""
    swing = np.float32(0.32) * np.cos(5 * np.arctan2(y, x))
    distance: Plane = (np.hypot(x, y) - radius * (np.float32(0.9) + swing)) / np.float32(1.6)
    return distance


def _crescent(x: Plane, y: Plane, radius: np.float32) -> Plane:
    bite = np.hypot(x - np.float32(0.65) * radius, y) - np.float32(0.75) * radius
    distance: Plane = np.maximum(np.hypot(x, y) - radius, -bite)
    return distance


_SHAPES: dict[str, Callable[[Plane, Plane, np.float32], Plane]] = {
    "disc": lambda x, y, r: np.hypot(x, y) - r,
    "square": lambda x, y, r: _box(x, y, np.float32(0.85) * r, np.float32(0.85) * r),
    "triangle": lambda x, y, r: _polygon(x, y, np.float32(0.65) * r, 3),
    "star": _star,
    "ring": lambda x, y, r: np.abs(np.hypot(x, y) - np.float32(0.75) * r) - np.float32(0.3) * r,
    "cross": lambda x, y, r: np.minimum(_box(x, y, r, np.float32(0.35) * r), _box(x, y, np.float32(0.35) * r, r)),
    "crescent": _crescent,
    "lozenge": lambda x, y, r: (np.abs(x) + np.float32(1.5) * np.abs(y) - np.float32(1.15) * r) / np.float32(1.8),
}


def blend(
    below: Float32[np.ndarray, "height width 3"], above: Float32[np.ndarray, "height width 3"], amount: Plane
) -> Float32[np.ndarray, "height width 3"]:
    """Lay one image over another.

    Args:
        below: the image below.
        above: the image above.
        amount: how much of the upper one shows at each pixel, in [0, 1].
    """
    mixed: Float32[np.ndarray, "height width 3"] = below + amount[..., None] * (above - below)
    return mixed
