"""Small networks whose every weight matters: the scores of the segmenter, which start at zero, are drawn too."""

import torch

from wheretolook.networks.fcn.network import ARCHITECTURES, FCN

NAMES = ("cat", "dog", "boat")
SMALL = {"widths": (3, 4, 5, 6, 7), "segmenter_width": 8, "classifier_widths": (9, 10)}


def narrow(architecture: str = "fcn8s", padding: str = "same", seed: int = 0) -> FCN:
    network = ARCHITECTURES[architecture](NAMES, **SMALL, padding=padding, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias") or name.startswith("segmenter.score"):
                parameter.normal_(0, 0.3, generator=generator)
    return network.eval()
