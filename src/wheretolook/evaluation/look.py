"""Where a network looks in one image that nothing is known of."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wheretolook.evaluation.maps import other_looks, shown_maps
from wheretolook.networks.modes import evaluation_mode
from wheretolook.records import GuidedNetwork, side_lengths


class ClassLook(NamedTuple):
    """What a network says of one class in one image."""

    class_index: int
    probability: float
    attention: Float[Tensor, "height width"]  # at the size that the network saw, after its ReLU, not normalised


def look(
    network: GuidedNetwork,
    image: Float[Tensor, "3 height width"],
    classes: Sequence[int] | None = None,
    *,
    top: int = 3,
    exclusive: bool = True,
    flip: bool = False,
) -> list[ClassLook]:
    """The probability and the attention map of some classes.

    Args:
        network: any guided network; left as it was.
        image: RGB in [0, 1], of a size that the network takes.
        classes: class indices; None for those with the highest scores, the highest first.
        top: how many of these.
        exclusive: probabilities are those of a softmax, else of a sigmoid each.
        flip: maps are means of the image's and of the mirrored image's, mirrored back.

    Raises:
        ImageSizeError: the network does not take images of that size.
    """
    device = next(network.parameters()).device
    with evaluation_mode(network), torch.inference_mode():
        images = network.preprocessing(image[None].to(device))
        output = network(images, segment=False)
        others = other_looks(network, images, flip=flip)
        scores = output.class_scores[0].float()
        chosen = scores.topk(min(top, len(scores))).indices.tolist() if classes is None else list(classes)
        pairs = torch.tensor([(0, index) for index in chosen], device=device).view(-1, 2)
        maps = shown_maps(output, pairs, side_lengths(images), network.attention, others).float().cpu()
        chances = scores.softmax(dim=0) if exclusive else scores.sigmoid()
    return [
        ClassLook(index, chance, attention)
        for index, chance, attention in zip(chosen, chances[chosen].tolist(), maps, strict=True)
    ]
