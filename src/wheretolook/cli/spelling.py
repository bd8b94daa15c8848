"""The command line's way of writing options, turned into the parser's."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from wheretolook.options.commands import PLACED

SHORT = {
    "network": "network.name",
    "layer": "network.layer",
    "attention": "network.attention",
    "scores": "network.scores",
    "padding": "network.padding",
}
"""What is short for an option, in every command that has that option."""

NUMBER = re.compile(r"-\.?\d")  # a negative number is a value, not an option


def expanded(argv: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """Spell values as the parser wants them: `--weights A B` as one JSON list, a bare `--resume` as true, none as null.

    Args:
        argv: the command and its options.
        kinds: every option of the command by its dotted name, with its type.

    Example:
        >>> expanded(["evaluate", "--weights", "a", "b"], {"weights": list[str]})
        ['evaluate', '--weights=["a", "b"]']
        >>> expanded(["x", "--resume", "--clip", "none", "--layer", "b"], {"resume": bool, "clip": float | None,
        ...     "network.layer": str})
        ['x', '--resume=true', '--clip=null', '--network.layer', 'b']
        >>> expanded(["x", "--data.batch-size", "4", "--fail-under=a=1"], {"data.batch_size": int, "fail_under": str})
        ['x', '--data.batch_size', '4', '--fail_under=a=1']
    """
    known = {*kinds, *SHORT}
    result: list[str] = []
    position = 0
    while position < len(argv):
        token, equals, value = argv[position].partition("=")
        if token.startswith("--") and (underscored := token[2:].replace("-", "_")) in known:
            token = f"--{underscored}"  # most programs write --max-steps
        if token.startswith("--") and SHORT.get(token[2:]) in kinds:
            token = f"--{SHORT[token[2:]]}"
        kind = kinds.get(token[2:]) if token.startswith("--") else None
        position += 1
        if equals and not _is_list(kind):
            result.append(f"{token}={'null' if _is_null([value], kind) else value}")
            continue
        values = [value] if equals else []
        while token.startswith("--") and position < len(argv) and _is_value(argv[position]):
            values.append(argv[position])
            position += 1
        result += _spelled(token, values, kind)
    return result


def _spelled(token: str, values: list[str], kind: Any) -> list[str]:
    """One option with its values as the parser wants it."""
    if kind is bool and not values:
        return [f"{token}=true"]
    if _is_null(values if _is_list(kind) else values[:1], kind):
        return [f"{token}=null", *values[1:]]
    if _is_list(kind) and values and not values[0].startswith("["):
        strings = str in get_args(kind) or list[str] in get_args(kind)
        return [f"{token}={json.dumps(values if strings else [_number(value) for value in values])}"]
    return [token, *values]


def option_kinds(options: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every option of a dataclass by its dotted name, with its type, but for those that are given by their place.

    Args:
        options: the dataclass of a command's options, or of a group of them.
        prefix: what the names begin with.
    """
    for name, kind in get_type_hints(options).items():
        if name in placed(options):
            continue
        yield prefix + name, kind
        for candidate in (kind, *get_args(kind)):
            if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
                yield from option_kinds(candidate, f"{prefix}{name}.")


def placed(options: type) -> dict[str, str]:
    """The options of a dataclass that are given by their place, without their names, with what they mean."""
    return {field.name: field.metadata[PLACED] for field in dataclasses.fields(options) if PLACED in field.metadata}


def _is_value(token: str) -> bool:
    return not token.startswith("-") or NUMBER.match(token) is not None


def _is_null(values: list[str], kind: Any) -> bool:
    return values == ["none"] and NoneType in get_args(kind)


def _is_list(kind: Any) -> bool:
    return any(get_origin(candidate) in (list, tuple) for candidate in (kind, *get_args(kind)))


def _number(text: str) -> int | float | str:
    """The number that a word spells; the word itself, for the parser to refuse, where it spells none."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
