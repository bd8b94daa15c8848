"""How other programs call the same arrays."""

from collections.abc import Mapping

from torch import Tensor

from wheretolook.networks.fcn.network import VGG16_DEPTHS

TRUNK_LAYERS = tuple(f"conv{b}_{n}" for b, depth in enumerate(VGG16_DEPTHS, 1) for n in range(1, depth + 1))
CLASSIFIER_LAYERS = ("fc6_cl", "fc7_cl", "score_cl")
SEGMENTER_LAYERS = (
    *("fc6", "fc7", "score_fr", "score_pool4", "score_pool3"),
    *("upscore", "upscore2", "upscore_pool4", "upscore8", "upscore16"),
)


def module_name(name: str) -> str:
    """Our name of an array that others call `conv1_1.weight`; empty where an FCN has no such layer.

    Example:
        >>> module_name("fc6_cl.weight"), module_name("trunk.conv1_1.bias"), module_name("fc8.bias")
        ('classifier.fc6_cl.weight', 'trunk.conv1_1.bias', '')
    """
    for part, layers in {"trunk": TRUNK_LAYERS, "segmenter": SEGMENTER_LAYERS, "classifier": CLASSIFIER_LAYERS}.items():
        inside = name.removeprefix(f"{part}.")
        if inside.split(".")[0] in layers:
            return f"{part}.{inside}"
    return ""


def own_names(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arrays of an FCN by our names, whoever named them; those of any other network as they are.

    Example:
        >>> import torch
        >>> list(own_names({"fc6.weight": torch.zeros(1)}))
        ['fc6.weight']
        >>> list(own_names({f"{layer}.weight": torch.zeros(1) for layer in TRUNK_LAYERS}))[0]
        'trunk.conv1_1.weight'
    """
    renamed = {module_name(name) or name: tensor for name, tensor in arrays.items()}
    return renamed if all(f"trunk.{layer}.weight" in renamed for layer in TRUNK_LAYERS) else dict(arrays)


def predecessor_name(name: str) -> str:
    """The name in the predecessor's npz of an array that we call `trunk.conv1_1.weight`.

    Example:
        >>> predecessor_name("trunk.conv1_1.weight"), predecessor_name("classifier.score_cl.bias")
        ('conv1_1/W', 'score_cl/b')
    """
    _, layer, kind = name.split(".")
    return f"{layer}/{'W' if kind == 'weight' else 'b'}"


def from_torchvision(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's VGG16 numbers its layers: `features.0` is conv1_1, `classifier.0` is fc6.

    Example:
        >>> import torch
        >>> list(from_torchvision({"features.2.bias": torch.zeros(1), "classifier.6.bias": torch.zeros(1)}))
        ['conv1_2.bias', 'fc8.bias']
    """
    index = 0
    names = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
    for layer in TRUNK_LAYERS:
        names[f"features.{index}"] = layer
        block_ends = layer in {"conv1_2", "conv2_2", "conv3_3", "conv4_3"}
        index += 3 if block_ends else 2  # convolution, ReLU and, at the end of a block, the pool
    renamed = {}
    for name, tensor in arrays.items():
        layer, _, kind = name.rpartition(".")
        if layer in names:
            renamed[f"{names[layer]}.{kind}"] = tensor
    return renamed
