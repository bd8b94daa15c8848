"""The options of the commands that look at images of no data set."""

from dataclasses import dataclass, field

from wheretolook.options.commands import PLACED
from wheretolook.options.network import NetworkOptions


@dataclass(frozen=True)
class Show:
    """Draw where a network looks in images: a picture for each, with a tile for each class.

    Args:
        weights: the network: a run folder, safetensors, npz or PyTorch state dict; none for the network that the
            network's options make with the weights that they give it.
        classes: classes to draw, by name or number; none for those with the highest scores.
        top: how many of these.
        class_names: the network's classes in the order of its scores, or a file with one a line; none for those that
            the weights or the network's library have on record.
        out: folder for the pictures and show.json.
        resize: longer side, in pixels, of the image as the network sees it; none for a shorter side of the network's
            own input size, and for the full size where it has none. A network that takes no such size sees the image
            squeezed into its own.
        exclusive: an image shows one class, so that scores are shares of a softmax; false for a sigmoid each; none for
            a softmax where the network only classifies.
        flip: average each map with that of the mirrored image, mirrored back.
        opacity: of the colour where attention is highest, 0 to 1.
        accelerator: cpu, cuda, mps or auto.
        network: which network the weights are of, where they do not say.
    """

    images: list[str] = field(metadata={PLACED: "image files, and folders of them"})
    weights: str | None = None
    classes: list[str] | None = None
    top: int = 3
    class_names: list[str] | None = None
    out: str = "runs/show"
    resize: int | None = None
    exclusive: bool | None = None
    flip: bool = False
    opacity: float = 0.7
    accelerator: str = "auto"
    network: NetworkOptions = field(default_factory=NetworkOptions)
