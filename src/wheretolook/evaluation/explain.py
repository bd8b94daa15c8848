"""What a network says about every class present in every image: the stuff of pictures."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch

from wheretolook.errors import naming
from wheretolook.evaluation.maps import other_looks, shown_maps
from wheretolook.metrics.attention import energy_inside
from wheretolook.networks.modes import evaluation_mode
from wheretolook.records import VOID, Batch, Explanation, GuidedNetwork, shows_object, side_lengths


def explain(
    network: GuidedNetwork,
    batches: Iterable[Batch],
    *,
    only_annotated: bool = True,
    flip: bool = False,
    scales: Sequence[float] = (),
) -> Iterator[Explanation]:
    """One explanation for each class present in each image, in the order of the batches.

    Args:
        network: any guided network; left as it was.
        batches: images with what is known of them.
        only_annotated: leave out classes that no mask or box shows; otherwise their `energy_inside` is NaN.
        flip: maps are means of the image's and of the mirrored image's, mirrored back.
        scales: maps are means of those of the image in these sizes as well, of its sides; 1 is its own.
    """
    device = next(network.parameters()).device
    for batch in batches:
        with evaluation_mode(network), torch.inference_mode(), naming(batch.names):
            images = network.preprocessing(batch.images.to(device))
            output = network(images)
            others = other_looks(network, images, flip=flip, scales=scales)
            annotated = shows_object(batch.targets)
            shown = annotated if only_annotated else torch.ones_like(annotated)
            pairs, targets = batch.pairs[shown], batch.targets[shown]
            size = side_lengths(batch.masks)
            maps = shown_maps(output, pairs.to(device), size, network.attention, others).cpu()
        predictions = None if output.mask_scores is None else output.mask_scores.argmax(dim=1).cpu()
        target, valid = targets == 1, targets != VOID
        energies = energy_inside(maps, target, valid).where(annotated[shown], math.nan).tolist()
        for pair, (image, class_index) in enumerate(pairs.tolist()):
            yield Explanation(
                name=batch.names[image],
                class_index=class_index,
                image=batch.images[image],
                truth=batch.masks[image],
                target=targets[pair],
                prediction=None if predictions is None else predictions[image],
                attention=maps[pair],
                energy_inside=energies[pair],
            )
