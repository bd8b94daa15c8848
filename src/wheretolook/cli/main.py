"""The command line. Options are checked before torch is imported, so `--help` and typing errors answer at once."""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from wheretolook.cli.complaints import complaint, word_none
from wheretolook.cli.spelling import SHORT, expanded, option_kinds, placed
from wheretolook.cli.typed import remember_command
from wheretolook.errors import BarError, ConfigError, WhereToLookError, nearest
from wheretolook.options.audit import Audit, Repair
from wheretolook.options.commands import (
    App,
    Check,
    Convert,
    Evaluate,
    Fetch,
    Inject,
    Propagate,
    Recipe,
    Suggest,
    TrainClassifier,
    TrainGain,
    TrainSegmenter,
    Visualize,
)
from wheretolook.options.export import Export, Predict
from wheretolook.options.looking import Show
from wheretolook.options.reporting import Report
from wheretolook.public import PUBLIC_FILES

LISTS = "Values of a list are separated by spaces (--data.crop 96 128); none switches an option off."
SHORTER = f"{', '.join(f'--{short}' for short in SHORT)} are short for the options of the network."


class Command(NamedTuple):
    """One command: its options, and the function that takes them, imported once the options are checked."""

    options: type
    function: str  # module and name, below `wheretolook.cli`
    about: str  # one line of help
    more: str = ""  # in the command's own help
    defaults: tuple[str, ...] = ()  # files of options that hold where none are given


COMMANDS = {
    "run": Command(
        Recipe, "run.run_recipe", "all stages, controls, and a page of tables and pictures, from one recipe file"
    ),
    "train-segmenter": Command(TrainSegmenter, "train.train_segmenter", "stage 0: trunk and segmenter learn the masks"),
    "train-classifier": Command(
        TrainClassifier, "train.train_classifier", "stage 1: the classifier learns on a frozen trunk"
    ),
    "train-gain": Command(TrainGain, "train.train_gain", "stage 2: fine-tune under the guided objective"),
    "evaluate": Command(Evaluate, "evaluate.evaluate_networks", "measure segmentation, classification and attention"),
    "audit": Command(
        Audit,
        "audit.audit_network",
        "find out whether a network looks at the wrong thing, and whether it matters",
        "Exit code 0, 1 where a bar is missed, 2 for an error.",
    ),
    "repair": Command(
        Repair,
        "repair.repair",
        "audit, say what to annotate, guide by it, and audit again",
    ),
    "visualize": Command(Visualize, "visualize.visualize", "draw images before and after"),
    "show": Command(Show, "show.show", "draw where a network looks in images, a tile a class"),
    "report": Command(Report, "report.write_report", "write the page of a run again, or compare several runs"),
    "demo": Command(
        Recipe,
        "run.run_recipe",
        "run the packaged recipe on made scenes; takes the options of run",
        defaults=(str(files("wheretolook") / "recipes" / "demo.yaml"),),
    ),
    "check": Command(Check, "check.check", "what a data set holds, and what is wrong with it"),
    "inject": Command(
        Inject, "inject.inject", "tie a mark to the classes of a data set: would guidance save the network?"
    ),
    "propagate": Command(
        Propagate, "propagate.propagate", "from a few annotated images, where the objects of all others probably are"
    ),
    "suggest": Command(Suggest, "suggest.suggest_images", "which images to annotate next, and why"),
    "app": Command(App, "app.app", "a page to look at images with, and to draw where the network should look"),
    "export": Command(
        Export,
        "export.export",
        "write scores, masks and attention maps as one graph, for onnxruntime or torch.export",
    ),
    "predict": Command(Predict, "predict.predict", "an exported network on images, without torch"),
    "convert": Command(Convert, "convert.convert", "write weights in another format"),
    "fetch": Command(
        Fetch, "fetch.fetch_public", "fetch public weights or data by name", f"There are {', '.join(PUBLIC_FILES)}."
    ),
}

Options = TypeVar("Options")


class _Parser(ArgumentParser):
    """Raises instead of printing its usage: `main` prints one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "exit_on_error": False, "allow_abbrev": False})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 after one line on what was wrong, or 1 after one on a bar that is missed."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser = make_parser(argv[0] if argv else "")
        if not argv:
            parser.print_help()
            return 0
        parsed = parser.parse_args(spelled(argv))
        command = COMMANDS[parsed.command]
        options: object = _options(command.options, parser, parsed)
        remember_command(argv)
        logging.basicConfig(format="%(message)s")
        module, _, function = command.function.partition(".")
        getattr(import_module(f"wheretolook.cli.{module}"), function)(options)  # only now, since it imports torch
    except (WhereToLookError, ArgumentError) as error:
        print(f"wheretolook: {_line(error, argv)}", file=sys.stderr)
        return 1 if isinstance(error, BarError) else 2
    except KeyboardInterrupt:
        print(f"wheretolook: stopped{_how_to_go_on(argv[0])}", file=sys.stderr)
        return 130
    return 0


def _how_to_go_on(command: str) -> str:
    if command in ("run", "demo", "repair"):
        return "; the same command goes on from the last checkpoint"
    return "; --resume goes on from the last checkpoint" if command.startswith("train-") else ""


def read_recipe(path: str | Path, *options: str) -> Recipe:
    """A recipe file as the `run` command reads it.

    Args:
        path: the YAML file.
        options: what to override, as on the command line: `"--guidance.steps=100"`.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """
    argv = ["run", "--config", str(path), *options]
    parser = make_parser(argv[0])
    try:
        return _options(Recipe, parser, parser.parse_args(spelled(argv)))
    except ArgumentError as error:
        raise ConfigError(_line(error, argv)) from error


def spelled(argv: Sequence[str]) -> list[str]:
    """A command line as the parser of all commands wants it."""
    return expanded(argv, _kinds(argv[0] if argv else ""))


def make_parser(command: str = "") -> ArgumentParser:
    """The parser of all commands; their options, help and defaults are those of the dataclasses.

    Args:
        command: the only one that is asked for, since to describe them all takes a third of a second; any other word
            for all of them.
    """
    parser = _Parser(
        prog="wheretolook",
        usage="wheretolook COMMAND [OPTIONS]",
        description="Tell a network where to look, and measure the difference.",
    )
    parser.add_argument("--version", action="version", version=f"wheretolook {version('wheretolook')}")
    commands = parser.add_subcommands(dest="command")
    for name in [command] if command in COMMANDS else COMMANDS:
        commands.add_subcommand(name, _command_parser(name, COMMANDS[name]), help=COMMANDS[name].about)
    return parser


def _command_parser(name: str, command: Command) -> ArgumentParser:
    """The parser of one command; its usage is a line, since a hundred options in brackets would hide what it does."""
    summary = (command.options.__doc__ or "").split("\n")[0]
    short = SHORTER if SHORT["network"] in dict(option_kinds(command.options)) else ""
    words = " ".join(filter(None, [summary, LISTS, short, command.more]))
    given = "".join(f"{place.upper()} " for place in placed(command.options))
    usage = f"wheretolook {name} {given}[OPTIONS]"
    parser = _Parser(usage=usage, description=words, default_config_files=list(command.defaults))
    parser.add_argument("--config", action="config", help="a YAML file of options; later options override it")
    for place, meaning in placed(command.options).items():
        several = get_origin(get_type_hints(command.options)[place]) is list
        parser.add_argument(place, type=str, help=meaning, nargs="+" if several else None)
    parser.add_class_arguments(command.options, as_group=False, skip={*placed(command.options)})
    return parser


def _kinds(command: str) -> dict[str, Any]:
    """Every option of a command by its dotted name, with its type."""
    return dict(option_kinds(COMMANDS[command].options)) if command in COMMANDS else {}


def _options(kind: type[Options], parser: ArgumentParser, parsed: Namespace) -> Options:
    """The command's options as their dataclass.

    Where a file gives a group of options a plain value, the parser would take the defaults and say nothing.
    """
    given = parsed[parsed.command]
    for name, field in option_kinds(kind):
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
    if command not in COMMANDS:
        return f"expected a command, got '{command}'{nearest(command, COMMANDS)}"
    return f"{complaint(text, argv, _kinds(command))}; see wheretolook {command} --help"
