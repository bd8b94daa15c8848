"""The same network with its attention read from another layer."""

from wheretolook.networks.forms import Size
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.networks.layers import dry_run, layers_by_grid
from wheretolook.networks.reading import as_written, uncompiled
from wheretolook.networks.trial import trial_images
from wheretolook.records import GuidedNetwork


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
    own = next(
        (call for call in run.calls if call.name == network.layer and call.form and call.output is not None), None
    )
    if own is not None and own.form is not None and own.output is not None and network.layer not in layers:
        height, width = own.form.grid(own.output, run.size).shape[-2:]
        layers = {network.layer: (height, width), **layers}
    return layers


def at_layer(network: GuidedModule, layer: str) -> GuidedModule:
    """The same module guided at another layer: nothing of it is copied.

    Args:
        network: whose class scores are the module's own.
        layer: a name in `layers_of`.

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
