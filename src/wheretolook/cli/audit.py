"""The command `audit`."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import yaml

from wheretolook.cli.console import console, device_of, say_attention, say_images, shown_batches, tracked
from wheretolook.data import open_dataset
from wheretolook.errors import BarError, ConfigError, nearest
from wheretolook.evaluation.audit import Audit, audit
from wheretolook.evaluation.evaluate import Figures
from wheretolook.evaluation.exchange import Trial
from wheretolook.evaluation.judged import WORDS
from wheretolook.files import require_writable, user_path, write_json
from wheretolook.metrics.figures import FIGURES
from wheretolook.networks.build import classifying, given_network
from wheretolook.networks.files import read_weights
from wheretolook.options.audit import Audit as AuditOptions
from wheretolook.report.audit import audit_record, audit_table, in_short, write_classes
from wheretolook.report.audit_page import audit_sections
from wheretolook.report.audit_pictures import AuditPictures, audit_pictures, contexts_sheet
from wheretolook.report.page import write_page
from wheretolook.report.pairs import PAIRS_FILE, write_pairs
from wheretolook.runs.folder import environment
from wheretolook.training.denormals import flushed_denormals

AUDIT_FILE = "audit.json"
CLASSES_FILE = "classes.csv"
PAGE_FILE = "audit.html"
SHEET_FILE = "contexts.png"


class Bar(NamedTuple):
    """What a figure is asked to be."""

    key: str
    value: float
    least: bool  # at least that much; otherwise at most


def audit_network(options: AuditOptions) -> Audit:
    """Audit a network, write what was found, and say it.

    Raises:
        ConfigError: an option that means nothing.
        BarError: a figure, or the number of shortcuts, is not as was asked; all files are written.
    """
    bars = [*_bars(options.fail_under, least=True), *_bars(options.fail_over, least=False)]
    found = measured(options)
    out = user_path(options.out)
    console.print(f"{AUDIT_FILE}, {CLASSES_FILE} and {PAIRS_FILE} are in {out}")
    console.print(f"open {out / PAGE_FILE}: why, with pictures")
    require_bars(found, bars, options.max_shortcut_classes)
    return found


def measured(options: AuditOptions) -> Audit:
    """Audit a network and write what was found, without asking whether it is good enough.

    Args:
        options: of the command.
    """
    if options.limit < 1 or options.pictures < 0:
        raise ConfigError(
            f"expected a limit of at least 1 and no less than 0 pictures, got {options.limit}, {options.pictures}"
        )
    dataset, out = open_dataset(options.data, options.data.split), user_path(options.out)
    device = device_of(options.accelerator)
    weights = None if options.weights is None else read_weights(user_path(options.weights))
    network = given_network(options.network, dataset.class_names, weights)
    if weights is not None:
        classifying(network, weights)
    require_writable(out)
    say_images(dataset)
    name = options.weights or str(options.network.name)
    say_attention({name: network})
    with flushed_denormals():
        found = audit(
            network.to(device),
            dataset,
            shown_batches(dataset, options.data, "where it looks"),
            rule=options.rule,
            limit=options.limit,
            mark=options.mark,
            batch_size=options.data.batch_size,
            seed=options.seed,
            tracked=_tracked,
        )
        shown = audit_pictures(network, dataset, found, options.rule, options.pictures)
    contexts_sheet(dataset, found, out / SHEET_FILE, options.pictures)
    _write(found, shown, options, out)
    console.print(audit_table(found))
    for line in in_short(found):
        console.print(line, highlight=False)
    console.print(counted(found))
    return found


def counted(found: Audit) -> str:
    """How many classes there are of each verdict, in words.

    Args:
        found: the audit.
    """
    counts = Counter(one.verdict.word for one in found.classes)
    return f"{len(found.classes)} classes: " + ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])


def _tracked(trials: Iterable[Trial], total: int) -> Iterator[Trial]:
    return iter(tracked(trials, "does it matter", total))


def _write(found: Audit, shown: AuditPictures, options: AuditOptions, out: Path) -> None:
    """Write everything but the sheet; the record last, since a repair takes an audit that has one for done."""
    settings = {"options": asdict(options), **environment()}
    sections = audit_sections(found, options.rule, shown, yaml.safe_dump(settings, sort_keys=False))
    name = options.weights or str(options.network.name)
    title = f"Audit of {name.rstrip('/').rpartition('/')[2]}"
    write_page(out / PAGE_FILE, title, sections, subtitle=f"{name}, images of {options.data.split}")
    write_classes(out / CLASSES_FILE, found.classes)
    write_pairs(out / PAIRS_FILE, found.pairs)
    write_json(out / AUDIT_FILE, {**audit_record(found, options.rule), **settings})


def _bars(texts: Sequence[str], *, least: bool) -> Iterator[Bar]:
    """Bars as they are written on the command line."""
    option = "fail_under" if least else "fail_over"
    for text in texts:
        key, _, number = text.partition("=")
        known = [name for name, figure in FIGURES.items() if figure.higher_is_better is not (not least)]
        if key not in known:
            other = f"; of {key} less is better: fail_over" if least and key in FIGURES else nearest(key, known)
            raise ConfigError(f"--{option}: expected a figure=number, such as {known[0]}=0.5, got {text}{other}")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"--{option}: expected a number after {key}=, such as 0.5, got '{number}'")
        yield Bar(key, value, least)


def require_bars(found: Audit, bars: Iterable[Bar], max_shortcut_classes: int | None) -> None:
    """Make sure that an audit is as good as was asked.

    Args:
        found: the audit.
        bars: of figures.
        max_shortcut_classes: most classes that may be recognised by a shortcut; None for no bar.

    Raises:
        BarError: it is not.
    """
    missed = [text for bar in bars if (text := _missed(found.figures, bar))]
    names = [one.name for one in found.classes if one.verdict.word == "shortcut"]
    if max_shortcut_classes is not None and len(names) > max_shortcut_classes:
        missed.append(
            f"{len(names)} classes are recognised by a shortcut ({', '.join(names)}), at most "
            f"{max_shortcut_classes} may be"
        )
    if missed:
        raise BarError("bar missed: " + "; ".join(missed))


def _missed(figures: Figures, bar: Bar) -> str:
    value = figures[bar.key]
    number = float(value) if isinstance(value, int | float) else math.nan
    if (number >= bar.value) if bar.least else (number <= bar.value):
        return ""
    found = "was not measured" if math.isnan(number) else f"is {number:.4g}"
    return f"{bar.key} {found}, {'at least' if bar.least else 'at most'} {bar.value:g} was asked for"
