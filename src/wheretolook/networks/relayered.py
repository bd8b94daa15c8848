"""The same network with its attention read from another layer."""

from wheretolook.networks.forms import Size
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.networks.layers import dry_run, layers_by_grid
from wheretolook.networks.reading import as_written, uncompiled
from wheretolook.networks.trial import trial_images
from wheretolook.records import GuidedNetwork, side_lengths


def layers_of(network: GuidedNetwork) -> dict[str, Size]:
    """The layers that attention may be read from, with their grids: the last one of each grid, the coarsest first.

    Args:
        network: any guided network; it runs once, and is left as it was.

    Returns:
        Heights and widths of the grids for images of the network's own size, by the layers' names; nothing where the
        class scores are of a classifier on the attention layer's own features (an FCN's, or an added one).
    """
    if not isinstance(network, GuidedModule) or network.classifier is not None:
        return {}
    with as_written(network.module):
        images = trial_images(network.module, network.input_size, None)
        run = dry_run(uncompiled(network.module), images, len(network.class_names), network.segments or None)
    layers = {layer.name: layer.grid for layer in layers_by_grid(run)}
    own = own_layer(network)
    for call in run.calls:
        if call.name == network.layer and own not in layers and call.form is not None and call.output is not None:
            layers = {own: side_lengths(call.form.grid(call.output, run.size)), **layers}
    return layers


def own_layer(network: GuidedModule) -> str:
    """What the layers that a network reads attention from are called among `layers_of`."""
    return " + ".join(network.layers)


def at_layer(network: GuidedModule, layer: str) -> GuidedModule:
    """The same module guided at another layer: nothing of it is copied.

    Args:
        network: whose class scores are the module's own.
        layer: a name in `layers_of`, other than that of its own layers.

    Raises:
        ConfigError: attention cannot be read there.
    """
    other = guide(
        network.module,
        layer,
        class_names=network.class_names,
        scores=network.scores,
        preprocessing=network.preprocessing,
        input_size=network.input_size,
        background=network.shapes.masks == len(network.class_names) + 1,
        segments=network.segments or None,
    )
    other.attention = network.attention
    return other
