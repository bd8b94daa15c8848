"""What the parser complains about, in our words: which option, what was expected, what came."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from wheretolook.errors import nearest

KEY = re.compile(r'Parser key "([^"]+)"')
UNKNOWN_IN_FILE = re.compile(r"does not accept option '([^']+)'")
UNKNOWN_IN_GROUP = re.compile(r"Option '([^']+)' is not accepted")
MISSING = re.compile(r"arguments are required: (.*)")
WITHOUT_VALUE = re.compile(r"argument (--[^/:]+).*: expected one argument")
NO_CONFIG = re.compile(r"(?:load config|Unexpected config:|parsing config:) ?(.*?)(?: - Parser key.*)?$")
VALUE = re.compile(r"(?:Got|Given) value: ")
INSIDE = re.compile(r"NestedArg\(key='([^']+)'")  # an option of what is no group of options
OUTER = " - Expected a <class 'NoneType'> Given value type"  # where the complaint about a group within a group ends


def complaint(text: str, argv: Sequence[str], kinds: Mapping[str, Any]) -> str:
    """Say in one line what is wrong with the options of a command.

    Args:
        text: the parser's own words, on one line.
        argv: the command and its options.
        kinds: every option of the command by its dotted name, with its type.
    """
    groups = KEY.findall(text)
    if found := UNKNOWN_IN_FILE.search(text):
        return f"unknown option in the config: {found[1]}{nearest(found[1], kinds)}"
    if found := UNKNOWN_IN_GROUP.search(text):
        return _unknown(".".join([*groups, found[1]]), kinds)
    if found := MISSING.search(text):
        names = [name.removeprefix(f"{argv[0]}.") for name in found[1].split(", ")]
        return f"expected {' and '.join(f'--{name}' if name in kinds else name for name in names)}, got none"
    if found := WITHOUT_VALUE.search(text):
        return f"{found[1]}: expected a value, got none"
    if "nrecognized arguments: " in text:
        return _unrecognized(text.rpartition("arguments: ")[2], kinds)
    if groups and ".".join(groups) in kinds:
        return _wrong_value(text, groups, kinds)
    if found := NO_CONFIG.search(text):
        option = f"--{groups[0]}" if groups else f"--config {_config_file(argv)}".strip()
        got = found[1].replace(' in "<unicode string>"', "")  # what the parser calls any text
        return f"{option}: expected a YAML file of options, got {got or 'nothing'}"
    return re.sub(KEY.pattern, r"--\1", text)


def spoken(kind: Any) -> str:
    """A type as a user reads it.

    Example:
        >>> spoken(int | None), spoken(Literal["voc", "folder"] | None), spoken(tuple[int, int]), spoken(list[str])
        ('int or none', 'voc, folder or none', '2 values (int)', 'a list')
        >>> spoken(dict[str, Any])
        'names with values such as {depth: 4}'
    """
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        return f"{len(parts)} values ({spoken(parts[0])})"
    if get_origin(kind) is list:
        return "a list"
    if get_origin(kind) is dict:
        return "names with values such as {depth: 4}"
    if parts:  # of a Literal or a union
        words = [part if isinstance(part, str) else spoken(part) for part in _choices(kind)]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if dataclasses.is_dataclass(kind):
        return "options"
    return {bool: "true or false", NoneType: "none"}.get(kind, getattr(kind, "__name__", str(kind)))


def word_none(kind: Any) -> str:
    """What to say of the word none in a file.

    Example:
        >>> word_none(int | None)
        'expected int or none, got the word none; a YAML file spells it null'
    """
    return f"expected {spoken(kind)}, got the word none; a YAML file spells it null"


def _config_file(argv: Sequence[str]) -> str:
    """The file that the command line names as its config; nothing where it names several."""
    given = [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    given += [value for word, value in pairwise(argv) if word == "--config"]
    return given[0] if len(given) == 1 else ""


def _unknown(name: str, kinds: Mapping[str, Any]) -> str:
    return f"unknown option --{name}{nearest(f'--{name}', [f'--{known}' for known in kinds])}"


def _unrecognized(words: str, kinds: Mapping[str, Any]) -> str:
    options = [word.split("=")[0][2:] for word in words.split() if word.startswith("--")]
    return _unknown(options[0], kinds) if options else f"unexpected {words}"


def _wrong_value(text: str, groups: list[str], kinds: Mapping[str, Any]) -> str:
    """The innermost complaint is the one to tell: `segmenter` is wrong because `steps` is."""
    option = ".".join(groups)
    inner = text.rpartition(f'Parser key "{groups[-1]}": ')[2]
    if len(groups) > 1:
        inner = inner.rpartition(OUTER)[0]
    value = VALUE.split(inner)[-1] if VALUE.search(inner) else inner
    kind = kinds[option]
    if found := INSIDE.search(value):
        return _unknown(f"{option}.{found[1]}", kinds)
    if value == "none" and NoneType in get_args(kind):  # the command line's spelling, in a file
        return f"--{option}: {word_none(kind)}"
    choices = [choice for choice in _choices(kind) if isinstance(choice, str)]
    return f"--{option}: expected {spoken(kind)}, got {value.strip('[]')}{nearest(value, choices)}"


def _choices(kind: Any) -> list[object]:
    """What a Literal or a union offers; a type itself where it is neither."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return [choice for part in get_args(kind) for choice in _choices(part)]
    return [kind]
