"""What lies in a run's folder, read for its page: figures, losses, pairs, pictures and options, and what is missing."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from wheretolook.errors import DataError, reason
from wheretolook.evaluation.pairs import PairFigures
from wheretolook.report.components import Gallery, Slider
from wheretolook.report.curves import read_history
from wheretolook.report.gallery import GALLERY_FILE, read_gallery
from wheretolook.report.pairs import read_pairs
from wheretolook.report.seeds import SeedRow
from wheretolook.runs.folder import HISTORY_FILE, OPTIONS_FILE, RECORD_FILE

METRICS_FILE = "metrics.json"
EVALUATION_FILE = "evaluation.json"
PICTURES_RECORD = "visualize.json"
BEFORE_FILE, AFTER_FILE = "pairs_before.csv", "pairs_after.csv"
REPORT_FOLDER = "report"
STAGES = {"segmenter": "Segmenter", "classifier": "Classifier", "guided": "Guided"}  # others are controls

Kind = Literal["recipe", "training", "evaluation", "pictures"]
Steps = list[dict[str, float]]
T = TypeVar("T")


@dataclass(frozen=True)
class Recorded:
    """A run as its folder tells it.

    Args:
        folder: where it lies.
        kind: what it was.
        options: of its command, group by group.
        command: what was typed; empty where that is not known.
        environment: versions and machine.
        class_names: without background; empty where they are not known.
        rows: figures of every row, with `seed`.
        histories: for each stage, what its training measured, of the first seed.
        before: every pair as the first network sees it.
        after: and as the last one does.
        pictures: the gallery and the slider.
        missing: what is not there, a line each.
    """

    folder: Path
    kind: Kind
    options: Mapping[str, Any]
    command: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    class_names: Sequence[str] = ()
    rows: Sequence[SeedRow] = ()
    histories: Mapping[str, Steps] = field(default_factory=dict)
    before: Sequence[PairFigures] = ()
    after: Sequence[PairFigures] = ()
    pictures: tuple[Gallery, Slider] | None = None
    missing: Sequence[str] = ()


def read_run(folder: Path) -> Recorded:
    """Read a run's folder: that of a recipe, of one training, of an evaluation or of pictures.

    Args:
        folder: as the command left it.

    Raises:
        DataError: it holds no run, or a file in it is broken.
    """
    if (folder / REPORT_FOLDER / EVALUATION_FILE).is_file():
        return _read_recipe(folder)
    if (folder / HISTORY_FILE).is_file():
        return _read_training(folder)
    if (folder / EVALUATION_FILE).is_file() or (folder / PICTURES_RECORD).is_file():
        return _read_measured(folder)
    raise DataError(
        f"expected the folder of a run, got {folder}, without {REPORT_FOLDER}/{EVALUATION_FILE}, {HISTORY_FILE} and "
        f"{EVALUATION_FILE}; give the --out of a command"
    )


def _read_recipe(folder: Path) -> Recorded:
    inner = folder / REPORT_FOLDER
    missing: list[str] = []
    record = _object(inner / EVALUATION_FILE)
    histories = {_stage(path.parent.name): read_history(path) for path in _histories(folder)}
    if not histories:
        missing.append(f"no {HISTORY_FILE} of a stage: no curves")
    return Recorded(
        folder,
        "recipe",
        _group(record, "recipe"),
        rows=_wanted(inner / METRICS_FILE, _rows, missing, "no tables") or (),
        histories=histories,
        **_said(record),
        **_pairs(inner, missing),
        missing=missing,
    )


def _read_training(folder: Path) -> Recorded:
    missing: list[str] = []
    record = _wanted(folder / RECORD_FILE, _object, missing, "the run has not come to its end") or {}
    options = _group(record, "options") or _wanted(folder / OPTIONS_FILE, _object, missing, "no settings") or {}
    histories = {folder.resolve().name: read_history(folder / HISTORY_FILE)}
    return Recorded(folder, "training", options, histories=histories, **_said(record), missing=missing)


def _read_measured(folder: Path) -> Recorded:
    missing: list[str] = []
    measured = (folder / EVALUATION_FILE).is_file()
    record = _object(folder / (EVALUATION_FILE if measured else PICTURES_RECORD))
    rows = (_wanted(folder / METRICS_FILE, _rows, missing, "no tables") or ()) if measured else ()
    drawn = _pairs(folder, missing) if (folder / PICTURES_RECORD).is_file() else {}
    kind: Kind = "evaluation" if measured else "pictures"
    return Recorded(folder, kind, _group(record, "options"), rows=rows, **_said(record), **drawn, missing=missing)


def _histories(folder: Path) -> list[Path]:
    """Those of the stages, in the order in which they are trained, whatever else lies there."""
    found = [path for path in folder.glob(f"*/{HISTORY_FILE}") if not path.parent.name.startswith("seed_")]
    rank = {name: place for place, name in enumerate(("segmenter", "classifier", "control"))}
    return sorted(found, key=lambda path: (path.parent.name == "guided", rank.get(path.parent.name, 9), path))


def _stage(name: str) -> str:
    """The name of a row, from that of its folder.

    Example:
        >>> _stage("control_classification"), _stage("guided")
        ('Control + classification', 'Guided')
    """
    return STAGES.get(name) or name.replace("_", " + ").capitalize()


def _pairs(folder: Path, missing: list[str]) -> dict[str, Any]:
    before, after = (
        _wanted(folder / name, read_pairs, missing, "no distribution of changes") for name in (BEFORE_FILE, AFTER_FILE)
    )
    pictures = _wanted(folder / GALLERY_FILE, read_gallery, missing, "no pictures")
    if before is None or after is None:
        return {"pictures": pictures}
    if [pair[:2] for pair in before] != [pair[:2] for pair in after]:
        raise DataError(f"{folder}: expected the same pairs in {BEFORE_FILE} and {AFTER_FILE}; run the command again")
    return {"before": before, "after": after, "pictures": pictures}


def _wanted(path: Path, read: Callable[[Path], T], missing: list[str], without: str) -> T | None:
    """What is in a file; None, and a line, where there is none."""
    if path.is_file():
        return read(path)
    missing.append(f"{path.name} is not there: {without}")
    return None


def _said(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of how it came about."""
    names = record.get("class_names") or []
    return {
        "command": str(record.get("command") or ""),
        "environment": {key: record[key] for key in ("versions", "machine", "seconds") if key in record},
        "class_names": [str(name) for name in names],
    }


def _group(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    group = record.get(name)
    return group if isinstance(group, dict) else {}


def _object(path: Path) -> dict[str, Any]:
    value = _json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected what a command records, got another file; run the command again")
    return value


def _rows(path: Path) -> list[dict[str, Any]]:
    value = _json(path)
    if not isinstance(value, list) or not all(isinstance(row, dict) and "weights" in row for row in value):
        raise DataError(f"{path}: expected a row of figures for each network, got another file; measure again")
    return [{"seed": 0, **row} for row in value]


def _json(path: Path) -> object:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except ValueError as error:
        raise DataError(f"{path}: expected JSON; {error}") from error
    return value


def leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every option by its dotted name, as it is written in a file of options.

    Args:
        options: group by group.
        prefix: what the names begin with.

    Example:
        >>> list(leaves({"out": "runs", "training": {"steps": 20, "clip": None}}))
        [('out', 'runs'), ('training.steps', '20'), ('training.clip', 'none')]
    """
    for name, value in options.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "none" if value is None else value if isinstance(value, str) else json.dumps(value)
