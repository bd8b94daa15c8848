"""What guidance is compared with: the same network, trained for as long, without the losses that guide."""

from collections.abc import Collection
from dataclasses import replace

from wheretolook.losses.objective import GUIDANCE, LOSSES, loss_weights
from wheretolook.options.objective import ObjectiveOptions


def control_objectives(guided: ObjectiveOptions) -> dict[str, ObjectiveOptions]:
    """The objectives of the controls of a guided objective, by their names in a table.

    The first weighs segmentation alone, or where that is not weighed, classification alone; the second every loss that
    neither looks at attention nor at annotations. There is no second where that is the first, and none at all where
    every loss guides.

    Args:
        guided: the guided objective `for_network`; the controls weigh their losses as it does.

    Example:
        >>> from wheretolook.losses.objective import for_network
        >>> controls = control_objectives(for_network(ObjectiveOptions(), segments=True))
        >>> {name: list(loss_weights(objective)) for name, objective in controls.items()}
        {'Control': ['segmentation'], 'Control + classification': ['classification', 'segmentation']}
    """
    plain = [name for name in loss_weights(guided) if not LOSSES[name].needs & GUIDANCE]
    if not plain:
        return {}
    alone = "segmentation" if "segmentation" in plain else plain[0]
    others = [name for name in plain if name != alone]
    controls = {"Control": weighing_only(guided, {alone})}
    if others:
        controls[f"Control + {' + '.join(others)}"] = weighing_only(guided, set(plain))
    return controls


def weighing_only(objective: ObjectiveOptions, losses: Collection[str]) -> ObjectiveOptions:
    """The objective with the weight of every other loss 0."""
    others = [name for name in LOSSES if name not in losses]
    return replace(objective, **{name: replace(getattr(objective, name), weight=0.0) for name in others})
