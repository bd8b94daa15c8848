"""Networks that several people use at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wheretolook.app.views import usable_methods
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.relayered import at_layer, layers_of, own_layer
from wheretolook.records import GuidedNetwork


class SharedNetwork:
    """A network with the layers that its attention may be read from; one forward at a time, nothing of anyone is kept.

    Args:
        title: what people call it.
        network: put into evaluation mode, and left there.

    Attributes:
        layers: heights and widths of the grids by the layers' names; empty where there is no choice.
        methods: how its maps can be made.
    """

    def __init__(self, title: str, network: GuidedNetwork) -> None:
        self.title, self.network = title, network.eval()
        self.layers, self.methods = layers_of(network), usable_methods(network)
        self._at: dict[str, GuidedNetwork] = {}
        self._lock = threading.Lock()

    @property
    def layer(self) -> str | None:
        """The layer that attention is read from unless another is asked for; None where there is no choice."""
        return own_layer(self.network) if self.layers and isinstance(self.network, GuidedModule) else None

    @contextmanager
    def at(self, layer: str | None) -> Iterator[GuidedNetwork]:
        """The network, with its attention at a layer, for as long as a forward takes.

        Args:
            layer: one of `layers`; None, or one that this network has not, for its own.

        Raises:
            ConfigError: attention cannot be read there.
        """
        with self._lock:  # its hooks are on the module that all layers share
            yield self._guided(layer)

    def _guided(self, layer: str | None) -> GuidedNetwork:
        if layer not in self.layers or layer in (None, self.layer) or not isinstance(self.network, GuidedModule):
            return self.network
        if layer not in self._at:
            self._at[layer] = at_layer(self.network, layer)
        return self._at[layer]
