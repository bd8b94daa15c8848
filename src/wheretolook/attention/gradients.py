"""Gradients of class scores with respect to the features: what every method on features is made of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.records import GuidedOutput


@contextmanager
def whatever_the_mode(output: GuidedOutput) -> Iterator[None]:
    """Take gradients of a record's scores, whatever the mode of the caller.

    The caller may be in inference mode: the classifier's graph is there all the same, and wants indices made outside;
    and autocast would take the gradient in half precision.

    Args:
        output: what the network's forward gave.
    """
    device = output.features.device.type
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


def score_gradients(
    class_scores: Float[Tensor, "batch classes"],
    features: Float[Tensor, "batch channels h w"],
    classes: Int[Tensor, "batch k"],
    *,
    create_graph: bool = False,
) -> Float[Tensor, "k batch channels h w"]:
    """How much each feature moves a class's score: d s / d f.

    The gradient is taken with respect to the features only, so nothing runs back through the trunk, no `.grad` is
    touched, and all k columns share one vectorised call: the classifier's weights are read once, not k times.

    Args:
        class_scores: logits, computed from `features`.
        features: activations of the attention layer, which the scores' graph contains.
        classes: class indices of each image, in [0, classes).
        create_graph: keep the graph of the gradients themselves (second order).
    """
    (gradients,) = gradients_of(class_scores, [features], classes, create_graph=create_graph)
    return gradients


def gradients_of(
    class_scores: Float[Tensor, "batch classes"],
    inputs: Sequence[Float[Tensor, "batch ..."]],
    classes: Int[Tensor, "batch k"],
    *,
    create_graph: bool = False,
) -> tuple[Float[Tensor, "k batch ..."], ...]:
    """How much each entry of some tensors moves a class's score; the arguments are those of `score_gradients`."""
    selected = class_scores.gather(1, classes)
    directions = torch.eye(classes.shape[1], dtype=selected.dtype, device=selected.device)
    return torch.autograd.grad(
        selected,
        inputs,
        directions[:, None, :].expand(-1, selected.shape[0], -1),
        retain_graph=True,
        create_graph=create_graph,
        is_grads_batched=True,
    )


def output_gradients(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, create_graph: bool = False
) -> Float[Tensor, "batch k channels h w"]:
    """`score_gradients` of a record, whatever the mode of the caller, image by image.

    Args:
        output: what the network's forward gave.
        classes: class indices of each image.
        create_graph: keep the graph of the gradients themselves.
    """
    with whatever_the_mode(output):
        gradients = score_gradients(output.class_scores, output.features, classes.clone(), create_graph=create_graph)
        return gradients.transpose(0, 1)
