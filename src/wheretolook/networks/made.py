"""What a maker of modules is told and gives, and the checks that are the same for every library."""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from wheretolook.errors import ConfigError, nearest
from wheretolook.records import Preprocessing

# arguments about where first weights come from: nothing that a file needs, which brings its own
ABOUT_WEIGHTS = re.compile("pretrained|checkpoint|weights|cache|hub|url")
ADDRESS = re.compile(r"[:/\\]")  # what addresses and paths have, and names of models have not


class Wanted(NamedTuple):
    """Which module to make.

    Attributes:
        name: within its library.
        arguments: what its maker takes besides the number of classes.
        classes: how many foreground classes it is to score.
        from_file: a weights file asks for it, and not the user.
    """

    name: str
    arguments: Mapping[str, Any]
    classes: int
    from_file: bool = False


class Made(NamedTuple):
    """A module, with what its library has on record for it.

    Attributes:
        module: as the library makes it.
        preprocessing: None where the module itself knows.
        input_size: height and width of its images; None where any will do, or the module itself knows.
        source: what a description has to say for the module to be made again.
        segments: True where its library says that it gives mask scores.
    """

    module: nn.Module
    preprocessing: Preprocessing | None
    input_size: tuple[int, int] | None
    source: dict[str, Any]
    segments: bool | None = None


def kept(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a description keeps: all but those about first weights."""
    return {name: value for name, value in arguments.items() if not ABOUT_WEIGHTS.search(name)}


def require_harmless(wanted: Wanted) -> None:
    """Make sure that a file asks neither for weights from elsewhere nor for a model by an address.

    Raises:
        ConfigError: it does.
    """
    if not wanted.from_file:
        return
    for name in _names_in(wanted.arguments):
        if ABOUT_WEIGHTS.search(name):
            raise ConfigError(f"its description asks for {name}, which no file may; save it without")
    for text in (wanted.name, *texts_in(wanted.arguments)):
        if ADDRESS.search(text):
            raise ConfigError(f"its description names {text}, an address or a path, which no file may; save it without")


def library(package: str, extra: str) -> ModuleType:
    """Import a library that is not part of the core.

    Raises:
        ConfigError: it is not installed.
    """
    name = package.partition(".")[0]
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(f"expected {name} installed, found none; pip install 'wheretolook[{extra}]'") from error
    return importlib.import_module(package)


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Make sure that a library has a model of that name.

    Raises:
        ConfigError: it has not.
    """
    known = list(known)
    if name not in known:
        raise ConfigError(f"expected a {kind} such as {', '.join(known[:3])}, got '{name}'{nearest(name, known)}")


@contextmanager
def explaining(what: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line that a model cannot be made with the arguments given.

    Raises:
        ConfigError: whatever the maker raised.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # makers raise whatever their layers do
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(f"{what} cannot be made with {given}: {why}; change network.arguments") from error


def three(values: Any) -> tuple[float, float, float]:
    """A number for each colour channel."""
    one, two, other = values
    return float(one), float(two), float(other)


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _names_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names_in(inner)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value as JSON has it, however deep, but for names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)
