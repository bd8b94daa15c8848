"""Points and strokes in place of outlines: which pixels they mark, and how they are drawn from masks for studies.

A plane of marks says little: 1 on the marks of its class, 0 on those of other classes and of the background, and
nothing anywhere else.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wheretolook.records import VOID, side_lengths

Pixels = Bool[np.ndarray, "height width"]
FAR = 1e6  # pixels; what lies farther away is as good as there
TURN = 0.3  # radians by which a stroke turns from step to step, the standard deviation
DETOURS = (0.0, 0.7, -0.7, 1.4, -1.4, 2.1, -2.1)  # what it tries at an edge, in radians, before it ends
LENGTH = 1.5  # of a stroke, in roots of the object's area


def stroke_pixels(points: Float[np.ndarray, "points 2"], radius: float, size: tuple[int, int]) -> Pixels:
    """The pixels whose centre is no farther than that from a line through points.

    Args:
        points: (x, y), where the pixel at the top left has its centre at (0, 0); a single one makes a disc.
        radius: in pixels; whatever it is, the pixels that the points lie in are marked.
        size: height and width of the image; what lies outside of it is left out.

    Example:
        >>> stroke_pixels(np.array([[1.0, 0.0], [3.0, 0.0]]), 0.0, (2, 5)).astype(int).tolist()
        [[0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    pixels = np.zeros(size, bool)
    limits = np.array([size[1], size[0]])
    points = np.clip(points, -FAR, FAR)
    inside = points[((points >= -0.5) & (points < limits - 0.5)).all(axis=1)]
    columns, rows = (inside + 0.5).astype(int).T
    pixels[rows, columns] = True
    for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
        low = np.clip(np.floor(np.minimum(start, end) - radius), 0, limits).astype(int)
        high = np.clip(np.ceil(np.maximum(start, end) + radius) + 1, 0, limits).astype(int)
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        places, along = np.stack([x, y], axis=2) - start, end - start
        share = np.clip(places @ along / max(float(along @ along), 1e-12), 0, 1)
        near = np.linalg.norm(places - share[..., None] * along, axis=2) <= radius + 1e-9
        pixels[low[1] : high[1], low[0] : high[0]] |= near
    return pixels


def pointed(
    targets: UInt8[Tensor, "present height width"], radius: float, random: np.random.Generator
) -> UInt8[Tensor, "present height width"]:
    """Planes of points: one on each class's pixels, and one where none of the classes is.

    Args:
        targets: planes of masks or boxes; those that say nothing go on saying nothing.
        radius: of a point, as a share of the image's longer side; it stays on what it marks.
        random: where the points lie.
    """
    return _marked(targets, [_point(where, random) for where in _places(targets)], radius)


def scribbled(
    targets: UInt8[Tensor, "present height width"], radius: float, random: np.random.Generator
) -> UInt8[Tensor, "present height width"]:
    """Planes of strokes: a smooth one on each class's pixels, and one where none of the classes is.

    The arguments are those of `pointed`; the radius is half the width of a stroke.
    """
    step = max(1.0, radius * max(side_lengths(targets)))
    return _marked(targets, [random_stroke(where, step, random) for where in _places(targets)], radius)


def _places(targets: Tensor) -> list[Pixels]:
    """Where each class is, and, last, where none is."""
    return [*(targets == 1).numpy(), ((targets == 0).all(dim=0) & torch.tensor(len(targets) > 0)).numpy()]


def _point(where: Pixels, random: np.random.Generator) -> np.ndarray:
    """The (x, y) of a pixel drawn evenly; none of nothing."""
    places = np.argwhere(where)[:, ::-1]
    return places[random.integers(len(places), size=1)].astype(float) if len(places) else np.zeros((0, 2))


def random_stroke(where: Pixels, step: float, random: np.random.Generator) -> Float[np.ndarray, "points 2"]:
    """The points (x, y) of a smooth line that stays inside of a region, no farther apart than a step.

    Args:
        where: the region; nothing is drawn where it is empty.
        step: in pixels.
        random: where the line starts and how it turns.
    """
    line = [*_point(where, random)]
    heading = random.uniform(0, 2 * np.pi)
    for _ in range(int(LENGTH * np.sqrt(where.sum()) / step)):
        heading += random.normal(0, TURN)
        for detour in DETOURS:
            angle = heading + detour
            place = line[-1] + step * np.array([np.cos(angle), np.sin(angle)])
            column, row = np.floor(place + 0.5).astype(int)
            if 0 <= row < where.shape[0] and 0 <= column < where.shape[1] and where[row, column]:
                line.append(place)
                heading = angle
                break
        else:
            break
    return np.array(line).reshape(-1, 2)


def _marked(targets: Tensor, lines: list[np.ndarray], radius: float) -> UInt8[Tensor, "present height width"]:
    """Planes that say on the marks what these planes say there, and nothing elsewhere."""
    size = side_lengths(targets)
    pixels = radius * max(size)
    seen = torch.zeros(size, dtype=torch.bool)
    for where, line in zip(_places(targets), lines, strict=True):
        if len(line):
            seen |= torch.from_numpy(stroke_pixels(line, pixels, size) & where)
    return targets.masked_fill(~seen, VOID)
