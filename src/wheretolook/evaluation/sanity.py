"""A network that has learned nothing, to hold the figures of one that has against."""

from copy import deepcopy

import torch

from wheretolook.records import GuidedNetwork


def shuffled(network: GuidedNetwork, seed: int = 0) -> GuidedNetwork:
    """A copy of the network whose weights are shuffled, those of each array among themselves.

    Their sizes are as they were, and what they say is gone. Where attention has the same figures as before, it owes
    them to the images and to the network's build, and not to what was learned. Statistics of batch norm stay.

    Args:
        network: left as it is.
        seed: of the order; the global random state is left alone.

    Source: Adebayo et al., arXiv:1810.03292, whose weights are drawn anew where ours are shuffled.
    """
    copy = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in copy.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return copy
