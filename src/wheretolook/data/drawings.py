"""What annotation tools draw: polygons, run lengths, boxes, masks, points and lines, and the planes that they make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from wheretolook.data.boxes import Box, pixels_of, upright_box
from wheretolook.data.images import on_upright, say_of_turns
from wheretolook.data.marks import Pixels, stroke_pixels
from wheretolook.data.masks import upright_values
from wheretolook.errors import DataError
from wheretolook.images import TURNED, opened, oriented_size
from wheretolook.records import VOID

BACKGROUND = -1  # in place of a class: a mark where none is


@dataclass(frozen=True, eq=False)
class Shape:
    """One object as it was drawn; one of the ways below says where it is.

    Args:
        class_index: its class, from 0; None where it says nothing (a crowd, what is to be ignored); BACKGROUND for a
            line where no class is.
        box: left, top, right, bottom.
        polygons: corners (x, y) of each of its parts, in pixels.
        without_edges: fill polygons as COCO's own code does, and not as LabelMe and OpenCV do, with their edges.
        rle: run lengths as COCO has them, with size and counts.
        file: a grey mask of this object alone, bright where it is.
        patch: such a mask of a part of the image, with that part's left and top.
        line: points (x, y) of a stroke on it, or one point; then nothing is said of pixels that are not marked.
        radius: of that line, in pixels.
    """

    class_index: int | None
    box: tuple[float, float, float, float] | None = None
    polygons: tuple[np.ndarray, ...] = ()
    without_edges: bool = False
    rle: Mapping[str, Any] | None = None
    file: Path | None = None
    patch: tuple[Pixels, int, int] | None = None
    line: np.ndarray | None = None
    radius: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether it is drawn to the pixel: not as a box, nor as a point or a line."""
        drawn = (self.rle, self.file, self.patch)
        return self.box is None and (bool(self.polygons) or any(way is not None for way in drawn))


class Planes(NamedTuple):
    """A drawing at the image's full size."""

    mask: UInt8[np.ndarray, "height width"]  # small objects on top of large ones, VOID where nothing is said
    classes: dict[int, UInt8[np.ndarray, "height width"]]  # 1 on the class's objects, 0, or VOID


@dataclass(frozen=True, eq=False)
class Drawing:
    """All that was drawn on one image.

    Args:
        shapes: the objects.
        where: what to call it in messages.
        size: height and width that the tool saw; None for those of the upright image.
    """

    shapes: tuple[Shape, ...]
    where: str
    size: tuple[int, int] | None = None

    @property
    def exact(self) -> bool:
        """Whether every object is drawn to the pixel."""
        return all(shape.exact for shape in self.shapes)

    def planes(self, image: Path) -> Planes:
        """What is where in an image.

        Args:
            image: its file.

        Raises:
            DataError: the drawing is of another size, or a shape is none.
        """
        upright, orientation = oriented_size(image)
        size, shapes = self.size or upright, self.shapes
        if size != upright and not (
            orientation in TURNED and size == upright[::-1]
        ):  # before anything of that size is made
            shapes = tuple(_on_upright(shape, size, image, self.where) for shape in shapes)
            size = upright
        say_of_turns(image)
        drawn = [(shape.class_index, rasterised(shape, size, self.where)) for shape in shapes]
        turned = [(index, upright_values(on.astype(np.uint8), Path(self.where), image) > 0) for index, on in drawn]
        marked = [shape.line is not None for shape in self.shapes]
        outlined = painted((one for one, mark in zip(turned, marked, strict=True) if not mark), upright)
        return with_marks(outlined, [one for one, mark in zip(turned, marked, strict=True) if mark])


def _on_upright(shape: Shape, size: tuple[int, int], image: Path, where: str) -> Shape:
    """The shape as it lies on the upright image; one that has pixels in place of corners has the image's size."""
    if (shape.rle, shape.file, shape.patch) != (None, None, None):
        upright, _ = oriented_size(image)
        raise DataError(
            f"{where} is of an image of {size[1]}x{size[0]}, but {image} is {upright[1]}x{upright[0]}; make them equal"
        )
    polygons = tuple(on_upright(corners, size, image, where) for corners in shape.polygons)
    box = None if shape.box is None else upright_box(Box(0, *shape.box), size, image, where)[1:]
    line = None if shape.line is None else on_upright(shape.line, size, image, where)
    radius = shape.radius * max(oriented_size(image)[0]) / max(size)
    return replace(shape, polygons=polygons, box=box, line=line, radius=radius)


def painted(shapes: Iterable[tuple[int | None, Pixels]], size: tuple[int, int]) -> Planes:
    """The planes of each class, and all of them in one mask.

    Args:
        shapes: class and pixels of each object; None for what nothing is said about.
        size: height and width.

    Example:
        >>> on = np.array([[True, True, False]])
        >>> planes = painted([(0, on[:, ::-1]), (1, on), (None, ~on)], (1, 3))
        >>> planes.mask.tolist(), planes.classes[0].tolist(), planes.classes[1].tolist()
        ([[2, 2, 1]], [[0, 1, 1]], [[1, 1, 255]])
    """
    ordered = sorted(shapes, key=lambda shape: -int(shape[1].sum()))
    void = np.zeros(size, bool)
    mask = np.zeros(size, np.uint8)
    classes: dict[int, UInt8[np.ndarray, "height width"]] = {}
    for index, pixels in ordered:
        if index is None:
            void |= pixels
            continue
        mask[pixels] = index + 1
        classes.setdefault(index, np.zeros(size, np.uint8))[pixels] = 1
    mask[void & (mask == 0)] = VOID
    for plane in classes.values():
        plane[void & (plane == 0)] = VOID
    return Planes(mask, classes)


def with_marks(outlined: Planes, marks: Sequence[tuple[int | None, Pixels]]) -> Planes:
    """Planes with points and lines as well: pixels that neither an object nor a mark covers say nothing any more.

    They go on saying "not here" in the plane of a class whose objects are all outlined.

    Args:
        outlined: the planes of all that was drawn otherwise.
        marks: class and pixels of each; BACKGROUND where no class is.

    Example:
        >>> dog, empty = np.array([[True, False, False]]), np.array([[False, False, True]])
        >>> planes = with_marks(painted([], (1, 3)), [(0, dog), (BACKGROUND, empty)])
        >>> planes.mask.tolist(), planes.classes[0].tolist()
        ([[1, 255, 0]], [[1, 255, 0]])
    """
    if not marks:
        return outlined
    mask = np.where(outlined.mask == 0, VOID, outlined.mask)
    for index, pixels in marks:
        mask[pixels & (mask == VOID)] = 0 if index is None else index + 1
    classes = dict(outlined.classes)
    for index in {index for index, _ in marks} - {BACKGROUND, None}:
        assert index is not None
        own = classes.get(index, np.zeros_like(mask)) == 1
        for other, pixels in marks:
            own |= pixels & (other == index)
        plane = np.where(own, 1, VOID).astype(np.uint8)
        plane[(mask != VOID) & ~own] = 0
        classes[index] = plane
    return Planes(mask, classes)


def rasterised(shape: Shape, size: tuple[int, int], where: str) -> Pixels:
    """The pixels of an object, without what lies outside of the image.

    Args:
        shape: the object.
        size: height and width of the image that it was drawn on.
        where: what to call it in messages.

    Raises:
        DataError: its run lengths or its mask have another size, or are broken.
    """
    if shape.rle is not None:
        return _decoded(shape.rle, size, where)
    if shape.file is not None:
        with opened(shape.file, "mask") as image:
            return np.array(image.convert("L")) > VOID // 2
    pixels = np.zeros(size, bool)
    if shape.patch is not None:
        part, left, top = shape.patch
        room = pixels[max(0, top) : max(0, top + len(part)), max(0, left) : max(0, left + part.shape[1])]
        room[:] = part[max(0, -top) :, max(0, -left) :][: room.shape[0], : room.shape[1]]
    if shape.line is not None:
        pixels |= stroke_pixels(shape.line, shape.radius, size)
    if shape.box is not None:
        height, width = size
        limits = (width, height, width, height)
        box = Box(0, *(min(max(side, 0), limit) for side, limit in zip(shape.box, limits, strict=True)))
        if box.left < box.right and box.top < box.bottom:
            pixels[pixels_of(box)] = True
    if shape.polygons:
        pixels |= (_filled_by_coco if shape.without_edges else _filled)(shape.polygons, size)
    return pixels


def _filled_by_coco(polygons: Iterable[np.ndarray], size: tuple[int, int]) -> Pixels:
    mask = coco_masks()
    inside = [np.clip(corners, 0, [size[1], size[0]]).flatten().tolist() for corners in polygons]
    return np.asarray(mask.decode(mask.merge(mask.frPyObjects(inside, *size))), bool)


def _filled(polygons: Iterable[np.ndarray], size: tuple[int, int]) -> Pixels:
    """Polygons as LabelMe and OpenCV fill them: with their edges."""
    canvas = Image.new("L", (size[1], size[0]))
    drawer = ImageDraw.Draw(canvas)
    for corners in polygons:
        # far outside, a drawn line may take forever; half an image away it is as good as there
        reach = np.array([size[1], size[0]])
        near = np.clip(corners, -reach / 2, 1.5 * reach)
        drawer.polygon([tuple(corner) for corner in near.tolist()], fill=1, outline=1)
    return np.array(canvas) > 0


def _decoded(rle: Mapping[str, Any], size: tuple[int, int], where: str) -> Pixels:
    mask = coco_masks()
    if list(rle.get("size", ())) != list(size):
        raise DataError(
            f"{where}: expected run lengths of the size {list(size)}, got {rle.get('size')}; export it anew"
        )
    counts = rle.get("counts")
    try:
        if isinstance(counts, list):
            if min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
                raise ValueError
            rle = mask.frPyObjects(dict(rle), *size)
        elif not isinstance(counts, (str, bytes)) or _runs(counts) != size[0] * size[1]:
            raise ValueError
        return np.asarray(mask.decode(rle), bool)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            f"{where}: expected run lengths that fill {size[1]}x{size[0]} pixels; export it anew"
        ) from error


def _runs(counts: str | bytes) -> int:
    """How many pixels compressed run lengths cover: the decoder believes them, and writes beyond its memory.

    Source: `rleFrString` of pycocotools.

    Example:
        >>> _runs("525ON")  # 5, 2, 5 and, written as differences from those two before, 1 and 3
        16
    """
    lengths: list[int] = []
    value, place = 0, 0
    for letter in counts.encode() if isinstance(counts, str) else counts:
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError
        value |= (bits & 0x1F) << 5 * place
        place += 1
        if not bits & 0x20:
            if bits & 0x10:
                value |= -1 << 5 * place
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value, place = 0, 0
    if place or min(lengths, default=-1) < 0:
        raise ValueError
    return sum(lengths)


def coco_masks() -> Any:
    """The functions of `pycocotools.mask`.

    Raises:
        DataError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise DataError("run lengths of COCO need pycocotools; pip install 'wheretolook[formats]'") from error
    return mask
