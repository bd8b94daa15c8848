"""What the commands share of the terminal and the machine."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch

from wheretolook.cli.terminal import console, tracked
from wheretolook.data import describe_classes, say_of_several
from wheretolook.errors import ConfigError
from wheretolook.options.data import DataOptions
from wheretolook.records import Batch, GuidedNetwork

if TYPE_CHECKING:
    from wheretolook.data import ImageDataset

__all__ = ["console", "device_of", "say_attention", "say_images", "shown_batches", "tracked"]


def shown_batches(dataset: "ImageDataset", options: DataOptions, what: str) -> Iterable[Batch]:
    """All images of a data set, with a bar that shows how many have passed.

    Args:
        dataset: the images.
        options: how they are served.
        what: what the bar is called.
    """
    from wheretolook.data.loading import evaluation_loader  # only now: Lightning takes seconds to import

    loader = evaluation_loader(dataset, options.batch_size, options.workers)
    return tracked(loader, what)


def say_images(dataset: "ImageDataset") -> None:
    """Say which classes the images of a data set show, and what to know of it before they are measured.

    Args:
        dataset: the images.
    """
    console.print(describe_classes(dataset))
    if several := say_of_several(dataset):
        console.print(several)


def say_attention(networks: Mapping[str, GuidedNetwork]) -> None:
    """Say how attention maps are made, where it is not by Grad-CAM everywhere: figures of two methods do not compare.

    Args:
        networks: by the name that the user knows them by.
    """
    methods = {name: network.attention for name, network in networks.items()}
    if set(methods.values()) - {"grad_cam"}:
        for name, method in methods.items():
            console.print(f"{name}: attention maps by {method}")


def device_of(accelerator: str) -> torch.device:
    """The device that an option names.

    Raises:
        ConfigError: this machine has none of that name.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device="cuda" if accelerator == "gpu" else accelerator).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"accelerator {accelerator} is not there on this machine; give cpu or auto") from error
