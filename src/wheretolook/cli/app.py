"""The command `app`."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from wheretolook.cli.console import console, device_of, shown_batches
from wheretolook.cli.show import looks_exclusive
from wheretolook.data import ImageDataset, open_dataset
from wheretolook.errors import ConfigError, reason
from wheretolook.evaluation.suggest import suggest
from wheretolook.files import require_writable, user_path
from wheretolook.networks.build import classifying, given_network
from wheretolook.networks.files import read_weights
from wheretolook.networks.own_classes import own_network
from wheretolook.networks.weights import Weights
from wheretolook.options.commands import App
from wheretolook.records import GuidedNetwork

if TYPE_CHECKING:
    from wheretolook.app.examples import Examples
    from wheretolook.app.views import Fit

ENVIRONMENT = "env:"


def app(options: App) -> None:
    """Serve the page until it is stopped."""
    try:
        from wheretolook.app.server import serving
    except ImportError as error:
        raise ConfigError(
            f"expected Gradio for the page, which is not there ({error}); pip install 'wheretolook[app]'"
        ) from error
    from wheretolook.app.desk import Desk
    from wheretolook.app.shared import SharedNetwork
    from wheretolook.app.views import Fit

    login = None if options.login is None else read_login(options.login)
    if options.upload_limit <= 0 or not 0 <= options.port < 1 << 16:
        raise ConfigError(
            f"expected upload_limit > 0 and a port below {1 << 16}, got {options.upload_limit} and {options.port}"
        )
    dataset = _dataset(options)
    networks = _networks(options, dataset)
    fit = Fit(options.data.resize, None if dataset else _own_side(networks[0][1]))
    examples = _examples(options, dataset, networks[0][1], fit)
    out = user_path(options.out)
    require_writable(out)
    shared = [SharedNetwork(title, network) for title, network in networks]
    folders = [user_path(path) for path in (options.data.root, options.images) if path is not None]
    desk = Desk(shared, examples, out, fit, folders)
    exclusive = looks_exclusive(networks[0][1]) if dataset is None else dataset.one_class
    if login is None and not _is_loopback(options.host):
        console.print(f"everybody who reaches {options.host} can use the page: --login makes them give a password")
    served = serving(
        desk,
        exclusive=exclusive,
        host=options.host,
        port=options.port,
        login=login,
        upload_limit=options.upload_limit,
    )
    with _stopped_by_both(), served as address:
        console.print(f"the page is at {address}; drawings go to {out}; Ctrl-C stops", soft_wrap=True)
        _wait()


def _wait() -> None:
    threading.Event().wait()


@contextmanager
def _stopped_by_both() -> Iterator[None]:
    """A process manager's signal stops the page as Ctrl-C does, so that uploads go with it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def read_login(where: str) -> tuple[str, str]:
    """User and password, from `env:NAME` or from the first line of a file, as user:password.

    Args:
        where: never the password itself, which others could read in the list of processes.

    Raises:
        ConfigError: there is no such variable or file, or no user:password in it.
    """
    if where.startswith(ENVIRONMENT):
        text = os.environ.get(where.removeprefix(ENVIRONMENT))
        if text is None:
            raise ConfigError(
                f"there is no environment variable {where.removeprefix(ENVIRONMENT)}; set it to user:password"
            )
    else:
        try:
            text = user_path(where).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot read the login from {where}: {reason(error)}; give a file or env:NAME"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where} is no text in UTF-8; expected user:password") from error
    user, colon, password = text.strip().partition(":")
    if not (user and colon and password):
        raise ConfigError(f"expected user:password in {where}, got something else; write both, with a colon between")
    return user, password


def _dataset(options: App) -> ImageDataset | None:
    """The images of the data set, at full size; None where none is named."""
    if options.data.root is None:
        return None
    if options.images is not None:
        raise ConfigError("expected images or data.root, got both; leave one out")
    return open_dataset(replace(options.data, resize=None), options.data.split)


def _networks(options: App, dataset: ImageDataset | None) -> list[tuple[str, GuidedNetwork]]:
    """One or two networks of the same classes, by what the user calls them."""
    device = device_of(options.accelerator)
    found: list[tuple[str, GuidedNetwork]] = []
    for path in [options.weights] if options.after is None else [options.weights, options.after]:
        weights = None if path is None else read_weights(user_path(path))
        if found and weights is not None:
            _require_same_classes(weights, *found[0])
        if dataset is not None:
            network = given_network(options.network, dataset.class_names, weights)
        else:
            network = own_network(options.network, weights, found[0][1].class_names if found else None)
        network = network if weights is None else classifying(network, weights)
        found.append((Path(path).name if path else str(options.network.name), network.to(device)))
    return found


def _require_same_classes(weights: Weights, title: str, network: GuidedNetwork) -> None:
    names = tuple(weights.description.get("class_names", network.class_names))
    if names != network.class_names:
        raise ConfigError(
            f"{weights.path}: expected the classes of {title}, {', '.join(network.class_names[:5])}, got "
            f"{', '.join(names[:5])}; compare networks of the same classes"
        )


def _examples(options: App, dataset: ImageDataset | None, network: GuidedNetwork, fit: "Fit") -> "Examples | None":
    """The images to offer: the data set's, a folder's, or made scenes for a network of theirs."""
    from wheretolook.app.examples import dataset_examples, folder_examples

    if dataset is None and options.images is not None:
        return folder_examples(user_path(options.images), fit)
    if dataset is None:
        scenes = open_dataset(options.data, options.data.split)
        dataset = scenes if scenes.class_names == network.class_names else None
    if dataset is None:
        return None
    return dataset_examples(dataset, fit, None if options.suggest is None else _suggested(options, network))


def _suggested(options: App, network: GuidedNetwork) -> dict[str, str]:
    """The images to draw on first, with reasons."""
    dataset = open_dataset(options.data, options.data.split)
    batches = shown_batches(dataset, options.data, "which images to suggest")
    found = suggest(network, dataset, len(dataset), options.suggest or "random", batches=batches)
    return {suggestion.name: suggestion.reason for suggestion in found}


def _own_side(network: GuidedNetwork) -> int | None:
    """The shorter side of the images that a network was made for; None where it does not say."""
    size = getattr(network, "input_size", None)
    return None if size is None else min(size)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
