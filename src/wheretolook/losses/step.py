"""What a loss may look at, and what it declares of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from wheretolook.records import Batch, GuidedNetwork, GuidedOutput, Part

Need = Literal["maps", "annotations", "masks", "input_gradients", "rivals", "earlier_maps"]


class Rivals(NamedTuple):
    """What the network most takes a pair's image for, of the classes that it does not show."""

    layer_maps: tuple[Float[Tensor, "pairs _ _"], ...]  # attention maps of that class in each layer, after their ReLU
    there: Bool[Tensor, " pairs"]  # False where the image shows every class


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
        rivals: of the pairs, where a loss needs them.
        earlier_maps: of the pairs, by the network as it was when the stage began, after their ReLU; where a loss needs
            them.
        signed_layer_maps: the pairs' maps before their ReLU of each layer that attention is read from, on its own grid;
            none for a single layer, whose are `signed_maps`.
    """

    network: GuidedNetwork
    batch: Batch
    images: Float[Tensor, "batch 3 height width"]
    output: GuidedOutput
    pairs: Int[Tensor, "pairs 2"]
    signed_maps: Float[Tensor, "pairs h w"]
    targets: UInt8[Tensor, "pairs height width"]
    loss_scale: float = 1.0
    rivals: Rivals | None = None
    earlier_maps: Float[Tensor, "pairs h w"] | None = None
    signed_layer_maps: tuple[Float[Tensor, "pairs _ _"], ...] = ()

    @property
    def maps(self) -> Float[Tensor, "pairs h w"]:
        """The attention maps after their ReLU."""
        return self.signed_maps.relu()

    @property
    def layer_maps(self) -> tuple[Float[Tensor, "pairs _ _"], ...]:
        """The attention maps after their ReLU, of each layer."""
        return tuple(maps.relu() for maps in self.signed_layer_maps or (self.signed_maps,))


class Loss(NamedTuple):
    """A loss of the table: one value for a step, before it is weighed.

    Attributes:
        compute: from the step and the loss's own group of options.
        needs: maps of the pairs; annotations (masks or boxes), masks that are exact to the pixel; gradients of scores
            with respect to the step's images, which then want one; maps of the pairs' rivals, or of the pairs by the
            network as it was. What is missing is said before the first step, and nothing is computed that no loss
            needs.
        reaches: from the loss's group of options, the parts of the network that its gradient reaches; but for the
            classifier through channel weights of second order, which every loss on maps reaches.
    """

    compute: Callable[[Step, Any], Float[Tensor, ""]]
    needs: frozenset[Need]
    reaches: Callable[[Any], set[Part]]
