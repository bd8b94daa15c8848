"""What a network says about every class present in every image: the stuff of pictures."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from wheretolook.evaluation.pairs import Seen, seen_batches
from wheretolook.metrics.attention import energy_inside
from wheretolook.records import VOID, Batch, Explanation, GuidedNetwork, shows_object


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
    for seen in seen_batches(network, batches, flip=flip, scales=scales):
        yield from explanations(seen, only_annotated=only_annotated)


def explanations(seen: Seen, *, only_annotated: bool = True) -> Iterator[Explanation]:
    """The explanations of one batch, on the CPU.

    Args:
        seen: the batch, and what a network gave for it.
        only_annotated: leave out classes that no mask or box shows.
    """
    batch = move_data_to_device(seen.batch, "cpu")
    predictions = None if seen.output.mask_scores is None else seen.output.mask_scores.argmax(dim=1).cpu()
    annotated = shows_object(batch.targets)
    shown = annotated if only_annotated else torch.ones_like(annotated)
    pairs, targets, maps = batch.pairs[shown], batch.targets[shown], seen.maps.cpu()[shown]
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
