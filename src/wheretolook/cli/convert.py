"""The command `convert`."""

from wheretolook.cli.console import console
from wheretolook.files import require_writable, user_path
from wheretolook.networks.build import build
from wheretolook.networks.files import read_weights, save_network
from wheretolook.options.commands import Convert
from wheretolook.records import CAFFE, FCN_AUTHORS, TORCHVISION

PREPROCESSINGS = {"caffe": CAFFE, "fcn_authors": FCN_AUTHORS, "torchvision": TORCHVISION}


def convert(options: Convert) -> None:
    """Write a network in another format, or with another padding or preprocessing than its file is known by."""
    target = user_path(options.target)
    names = tuple(options.class_names) if options.class_names else None
    space = None if options.preprocessing is None else PREPROCESSINGS[options.preprocessing]
    weights = read_weights(user_path(options.source))
    require_writable(target.parent)
    network = build(weights, names, options.network, preprocessing=space)
    save_network(network, target)
    console.print(f"wrote {target}")
