"""What a loss may look at, and what it declares of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from wheretolook.records import Batch, GuidedNetwork, GuidedOutput, Part

Need = Literal["maps", "annotations", "masks", "input_gradients"]


@dataclass(frozen=True, eq=False)
class Step:
    """One forward of one batch, with everything that any loss may look at.

    Attributes:
        network: what made the output; for losses that pass more images through it.
        batch: images and what is known about them.
        images: the network's input: the batch's images after the network's preprocessing.
        output: what the network gave.
        pairs: the (image, class) pairs that are guided in this step, image by image; none where no loss needs maps.
        signed_maps: their attention maps before the ReLU, at feature resolution, not normalised.
        targets: their planes: 1 look here, 0 not here, VOID says nothing.
        loss_scale: what the trainer multiplies losses by in half precision.
    """

    network: GuidedNetwork
    batch: Batch
    images: Float[Tensor, "batch 3 height width"]
    output: GuidedOutput
    pairs: Int[Tensor, "pairs 2"]
    signed_maps: Float[Tensor, "pairs h w"]
    targets: UInt8[Tensor, "pairs height width"]
    loss_scale: float = 1.0

    @property
    def maps(self) -> Float[Tensor, "pairs h w"]:
        """The attention maps after their ReLU."""
        return self.signed_maps.relu()


class Loss(NamedTuple):
    """A loss of the table: one value for a step, before it is weighed.

    Attributes:
        compute: from the step and the loss's own group of options.
        needs: maps of the pairs; annotations (masks or boxes), masks that are exact to the pixel; gradients of scores
            with respect to the step's images, which then want one. What is missing is said before the first step, and
            nothing is computed that no loss needs.
        reaches: from the loss's group of options, the parts of the network that its gradient reaches; but for the
            classifier through channel weights of second order, which every loss on maps reaches.
    """

    compute: Callable[[Step, Any], Float[Tensor, ""]]
    needs: frozenset[Need]
    reaches: Callable[[Any], set[Part]]
