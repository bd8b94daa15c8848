"""The command line. Options are checked before torch is imported, so `--help` and typing errors answer at once."""

import dataclasses
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from wheretolook.cli.complaints import complaint, word_none
from wheretolook.errors import ConfigError, WhereToLookError, nearest
from wheretolook.options.commands import Evaluate, Recipe, TrainClassifier, TrainGain, TrainSegmenter, Visualize
from wheretolook.public import PUBLIC_FILES

# name: (options, function in commands.py, one line of help)
COMMANDS: dict[str, tuple[type, str, str]] = {
    "run": (Recipe, "run_recipe", "all stages, the control, the table and the pictures, from one recipe file"),
    "train-segmenter": (TrainSegmenter, "train_segmenter", "stage 0: trunk and segmenter learn the masks"),
    "train-classifier": (TrainClassifier, "train_classifier", "stage 1: the classifier learns on frozen convolutions"),
    "train-gain": (TrainGain, "train_gain", "stage 2: fine-tune under the guided objective"),
    "evaluate": (Evaluate, "evaluate_networks", "measure segmentation, classification and attention"),
    "visualize": (Visualize, "visualize", "draw images before and after"),
    "demo": (Recipe, "run_recipe", "run the packaged recipe on made scenes; takes the options of run"),
}
DEFAULTS = {"demo": str(files("wheretolook") / "recipes" / "demo.yaml")}  # a command's options where it is given none
CONVERT: dict[str, Any] = {  # its options, with their types
    "class_names": list[str] | None,
    "padding": Literal["same", "caffe"] | None,
    "preprocessing": Literal["caffe", "fcn_authors", "torchvision"] | None,
}
LISTS = "Values of a list are separated by spaces (--data.crop 96 128); none switches an option off."
NUMBER = re.compile(r"-\.?\d")  # a negative number is a value, not an option


Options = TypeVar("Options")


class _Parser(ArgumentParser):
    """Raises instead of printing its usage: `main` prints one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "exit_on_error": False, "allow_abbrev": False})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, or 2 after one line on what was wrong."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser = make_parser()
        if not argv:
            parser.print_help()
            return 0
        options = parser.parse_args(expanded(argv))
        _run(parser, options)
    except (WhereToLookError, ArgumentError) as error:
        print(f"wheretolook: {_line(error, argv)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"wheretolook: stopped{_how_to_go_on(argv[0])}", file=sys.stderr)
        return 130
    return 0


def _how_to_go_on(command: str) -> str:
    if command in ("run", "demo"):
        return "; the same command goes on from the last checkpoint"
    return "; --resume goes on from the last checkpoint" if command.startswith("train-") else ""


def read_recipe(path: str | Path, *options: str) -> Recipe:
    """A recipe file as the `run` command reads it.

    Args:
        path: the YAML file.
        options: what to override, as on the command line: `"--gain.steps=100"`.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """
    argv = ["run", "--config", str(path), *options]
    parser = make_parser()
    try:
        return _options(Recipe, parser, parser.parse_args(expanded(argv)))
    except ArgumentError as error:
        raise ConfigError(_line(error, argv)) from error


def make_parser() -> ArgumentParser:
    """The parser of all commands; their options, help and defaults are those of `config`'s dataclasses."""
    parser = _Parser(prog="wheretolook", description="Tell a network where to look, and measure the difference.")
    parser.add_argument("--version", action="version", version=f"wheretolook {version('wheretolook')}")
    commands = parser.add_subcommands(dest="command")
    for name, (options, _, about) in COMMANDS.items():
        summary = options.__doc__.split("\n")[0] if options.__doc__ else about
        defaults = [DEFAULTS[name]] if name in DEFAULTS else []
        command = _Parser(description=f"{summary} {LISTS}", default_config_files=defaults)
        command.add_argument("--config", action="config", help="a YAML file of options; later options override it")
        command.add_class_arguments(options, as_group=False)
        commands.add_subcommand(name, command, help=about)
    convert = _Parser(description="Read any known weights file and write it in another format.")
    convert.add_argument("source", type=str, help="a weights file or run folder")
    convert.add_argument(
        "target",
        type=str,
        help="the file to write: .safetensors, .npz in the predecessor's names, or .pth for its state dict alone",
    )
    convert.add_argument("--class_names", type=CONVERT["class_names"], default=None, help="the foreground classes")
    convert.add_argument("--padding", type=CONVERT["padding"], default=None, help="none for the file's own")
    about = "what the network was trained on: BGR 0-255 with the mean of VGG (caffe) or of the FCN authors, or RGB as"
    convert.add_argument(
        "--preprocessing", type=CONVERT["preprocessing"], default=None, help=f"{about} torchvision; none for the file's"
    )
    commands.add_subcommand("convert", convert, help="write weights in another format")
    fetch = _Parser(description="Fetch public weights or data by name.")
    fetch.add_argument("name", type=str, help=f"one of {', '.join(PUBLIC_FILES)}")
    fetch.add_argument("--folder", type=str, default="public", help="where to put it")
    commands.add_subcommand("fetch", fetch, help="fetch public weights or data by name")
    return parser


def expanded(argv: Sequence[str]) -> list[str]:
    """Spell values as the parser wants them: `--weights A B` as one JSON list, a bare `--resume` as true, none as null.

    Example:
        >>> expanded(["evaluate", "--weights", "a", "b", "--data.crop", "96", "128"])
        ['evaluate', '--weights=["a", "b"]', '--data.crop=[96, 128]']
        >>> expanded(["train-gain", "--resume", "--training.clip", "none"])
        ['train-gain', '--resume=true', '--training.clip=null']
    """
    command = argv[0] if argv else ""
    kinds = _kinds(command)
    result: list[str] = []
    position = 0
    while position < len(argv):
        token, equals, value = argv[position].partition("=")
        kind = kinds.get(token[2:])
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


def _kinds(command: str) -> dict[str, Any]:
    """Every option of a command by its dotted name, with its type."""
    others: dict[str, dict[str, Any]] = {"convert": CONVERT, "fetch": {"folder": str}}
    return dict(_fields(COMMANDS[command][0])) if command in COMMANDS else others.get(command, {})


def _fields(options: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every option of a dataclass by its dotted name, with its type."""
    for name, kind in get_type_hints(options).items():
        yield prefix + name, kind
        for candidate in (kind, *get_args(kind)):
            if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
                yield from _fields(candidate, f"{prefix}{name}.")


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


def _run(parser: ArgumentParser, options: Namespace) -> None:
    command = options.command
    chosen = options[command]
    wanted = _options(COMMANDS[command][0], parser, options) if command in COMMANDS else None
    logging.basicConfig(format="%(message)s")
    from wheretolook.cli import commands  # here, since it imports torch

    if command == "convert":
        source, target = Path(chosen.source), Path(chosen.target)
        commands.convert(source, target, chosen.class_names, chosen.padding, chosen.preprocessing)
    elif command == "fetch":
        commands.fetch_public(chosen.name, Path(chosen.folder))
    else:
        getattr(commands, COMMANDS[command][1])(wanted)


def _options(kind: type[Options], parser: ArgumentParser, parsed: Namespace) -> Options:
    """The command's options as their dataclass.

    Where a file gives a group of options a plain value, the parser would take the defaults and say nothing.
    """
    given = parsed[parsed.command]
    for name, field in _fields(kind):
        outer = name.rpartition(".")[0]
        if outer and not isinstance(given.get(outer), Namespace):
            continue  # inside of a group that is none, or has been complained about
        if dataclasses.is_dataclass(field) and not isinstance(given.get(name), Namespace):
            raise ConfigError(f"--{name}: expected options, got {given.get(name)}")
        if given.get(name) == "none" and NoneType in get_args(field):  # the command line's spelling, in a file
            raise ConfigError(f"--{name}: {word_none(field)}")
    chosen = parser.instantiate(parsed)[parsed.command]
    return kind(**{name: chosen[name] for name in get_type_hints(kind)})


def _line(error: Exception, argv: Sequence[str]) -> str:
    """One line: our own errors as they are, the parser's in our words."""
    text = " ".join(str(error).split())
    if isinstance(error, WhereToLookError):
        return text
    command = argv[0] if argv else ""
    if command not in {*COMMANDS, "convert", "fetch"}:
        return f"expected a command, got '{command}'{nearest(command, [*COMMANDS, 'convert', 'fetch'])}"
    return f"{complaint(text, argv, _kinds(command))}; see wheretolook {command} --help"
