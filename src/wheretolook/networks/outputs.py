"""What a module gives out, whatever holds it: tensors in tuples, dicts, dataclasses and Hugging Face's ModelOutputs."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wheretolook.records import side_lengths

PREFERRED = ("out", "logits")  # what torchvision's segmenters and Hugging Face's models call their scores


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Every tensor of a module's output, in order; those named `out` or `logits` first.

    Example:
        >>> import torch
        >>> [tuple(tensor.shape) for tensor in tensors_in({"aux": torch.zeros(1), "out": (torch.zeros(2), None)})]
        [(2,), (1,)]
    """
    if isinstance(output, Tensor):
        yield output
    else:
        named = _fields(output)
        for key in sorted(named, key=lambda key: key not in PREFERRED):
            yield from tensors_in(named[key])


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same output with another tensor in every place where the old one was; the given one is left alone."""
    if output is old:
        return new
    changed = {key: replaced(value, old, new) for key, value in _fields(output).items()}
    if all(value is changed[key] for key, value in _fields(output).items()):
        return output
    if isinstance(output, Mapping):
        other: Any = copy.copy(output)  # keeps the class: OrderedDict, ModelOutput
        for key, value in changed.items():
            other[key] = value
        return other
    if isinstance(output, tuple | list):
        return type(output)(*changed.values()) if hasattr(output, "_fields") else type(output)(changed.values())
    return dataclasses.replace(output, **changed)


def _fields(output: Any) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_asdict"):
        return dict(output._asdict())
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {}


class OwnScores(NamedTuple):
    """The scores that a module gives by itself: of the image, of its pixels, or both."""

    logits: Float[Tensor, "batch classes"] | None
    masks: Float[Tensor, "batch channels h w"] | None


class ScoreShapes(NamedTuple):
    """How many channels a module's own scores have; 0 where it has none of that kind.

    Attributes:
        logits: of its class scores.
        masks: of its mask scores.
        images: of an output that could be mask scores, and was taken for an image.
    """

    logits: int
    masks: int
    images: int = 0

    def find(self, output: Any, batch: int) -> OwnScores:
        """The first tensors of those shapes, since what else a module gives may change with its mode."""
        logits = masks = None
        for tensor in tensors_in(output):
            if logits is None and self.logits and tensor.shape == (batch, self.logits):
                logits = tensor
            if masks is None and self.masks and tensor.ndim == 4 and tensor.shape[:2] == (batch, self.masks):
                masks = tensor
        return OwnScores(logits, masks)


def score_shapes(
    output: Any,
    images: Float[Tensor, "batch channels height width"],
    classes: int | None,
    segments: bool | None = None,
) -> ScoreShapes:
    """Which of a module's outputs are its scores: the first with as many channels as there are classes.

    An output with the shape of the images may be one, as an autoencoder's is: it counts only where that is said.

    Args:
        output: what the module gave.
        images: for these.
        classes: how many foreground classes there are; None where that is not known yet.
        segments: True where an output of the images' own shape is mask scores; False where no output is.
    """
    batch = len(images)
    found = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.shape[:1] == (batch,)]
    logits = [tensor.shape[1] for tensor in found if tensor.ndim == 2 and classes in (None, tensor.shape[1])]
    known = classes if classes is not None or not logits else logits[0]
    fits = [t for t in found if t.ndim == 4 and (known is None or t.shape[1] in (known, known + 1))]
    alike = [tensor.shape[1] for tensor in fits if tensor.shape == images.shape and segments is None]
    masks = [tensor.shape[1] for tensor in fits if segments or (segments is None and tensor.shape != images.shape)]
    return ScoreShapes((logits or [0])[0], (masks or [0])[0], 0 if masks else (alike or [0])[0])


def at_image_size(
    masks: Float[Tensor, "batch channels h w"], size: tuple[int, int]
) -> Float[Tensor, "batch channels height width"]:
    """Mask scores at the size of the image; coarser ones are interpolated."""
    if side_lengths(masks) == size:
        return masks
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
