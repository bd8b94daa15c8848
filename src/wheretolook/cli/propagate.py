"""The command `propagate`: probable masks of the images that nobody annotated."""

from dataclasses import replace

import numpy as np
from PIL import Image

from wheretolook.cli.console import console, device_of, tracked
from wheretolook.data import open_dataset
from wheretolook.errors import ConfigError
from wheretolook.evaluation.propagate import propagated
from wheretolook.files import user_path, write_json, writing_folder
from wheretolook.networks.build import given_network
from wheretolook.networks.files import read_weights
from wheretolook.networks.hypercolumns import Hypercolumns
from wheretolook.options.commands import Propagate

SUMMARY = "propagated.json"


def propagate(options: Propagate) -> None:
    """Learn from the annotated images of a split where objects are, and write masks of the others."""
    if not options.margin >= 0:
        raise ConfigError(f"expected a margin of at least 0, got {options.margin}")
    data = replace(options.data, dilate=0)  # the masks that are written are dilated where they guide
    dataset = open_dataset(data, data.split, training=True)
    device = device_of(options.accelerator)
    weights = None if options.weights is None else read_weights(user_path(options.weights))
    network = given_network(options.network, dataset.class_names, weights)
    columns = Hypercolumns(network.to(device), dataset[0].image[None].to(device))
    with writing_folder(user_path(options.out)) as folder:
        score, masks = propagated(dataset, lambda image: columns(image.to(device)), options.margin)
        known = sum(dataset.is_annotated(index) for index in range(len(dataset)))
        console.print(f"learned from {known} images; overlap with annotations held out: IoU {100 * score:.0f} %")
        for index, mask in tracked(masks, "masks", len(dataset) - known):
            path = folder / f"{dataset.names[index]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.numpy().astype(np.uint8)).save(path)
        layers = list(columns.layers)
        write_json(
            folder / SUMMARY, {"annotated": known, "images": len(dataset), "iou_held_out": score, "layers": layers}
        )
    console.print(f"{options.out} is ready: --data.propagated {options.out}, with the same --data options")
