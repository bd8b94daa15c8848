"""Every loss of stage 2 on photographs, from one and the same Original, with the same steps and the same data order.

    .venv/bin/python benchmarks/photoscenes.py --out local/photoscenes

Restartable: what is finished is skipped, and the table is written anew after every row. The recipe is
recipes/photoscenes.yaml; each row changes only the objective. Rows with a frozen classifier are measured twice: with
the classifier of stage 1, and with one trained afresh on the row's own trunk.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wheretolook.cli import read_recipe
from wheretolook.commands import evaluate_networks, stages_before_guidance, train_classifier, train_gain
from wheretolook.config import Evaluate, ObjectiveConfig, Recipe, TrainClassifier, TrainGain
from wheretolook.files import write_text

FIGURES = (
    "mean_iu",
    "accuracy",
    "map",
    "energy_pointing",
    "attention_iou",
    "attention_iou_ceiling",
    "attention_iou_20",
    "pointing_game",
)
HEADINGS = ("Mean IU", "Accuracy", "mAP", "Energy pointing", "Attention IoU", "its ceiling", "at 20 %", "Pointing game")


@dataclass(frozen=True)
class Row:
    """One objective, and how many seeds it is worth."""

    name: str
    objective: ObjectiveConfig
    seeds: int = 1


def rows(external_weight: float, energy_weight: float) -> list[Row]:
    """The rows of the table; only what is weighed differs."""
    control = ObjectiveConfig(classification_weight=0.0, mining_weight=0.0)
    classified = ObjectiveConfig(mining_weight=0.0)
    energy = replace(classified, external="energy", external_weight=energy_weight)
    squared = ObjectiveConfig(external_weight=external_weight)

    def free(objective: ObjectiveConfig) -> ObjectiveConfig:
        # the second-order term reaches only the classifier: it learns to answer from the channels that fit the object
        return replace(objective, freeze_classifier=False, channel_weights="second_order")

    return [
        Row("Control", control, 3),
        Row("Control, classifier free", free(classified), 3),
        Row("Energy, classifier free", free(energy), 3),
        Row("GAIN", ObjectiveConfig(), 3),
        Row("Control + classification", classified),
        Row("GAIN alone", ObjectiveConfig(segmentation_weight=0.0)),
        Row("GAIN ext", squared),
        Row("Energy", energy),
        Row("GAIN ext, classifier free", free(squared)),
    ]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/photoscenes.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/photoscenes"))
    parser.add_argument("--split", help="where the rows are measured; the recipe's test split unless given")
    parser.add_argument("--rows", nargs="*", help="names of the rows to run; all unless given")
    parser.add_argument("--seeds", type=int, default=3, help="most seeds a row")
    parser.add_argument("--external_weight", type=float, default=1.0)
    parser.add_argument("--energy_weight", type=float, default=1.0)
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    original = stages_before_guidance(recipe, arguments.out)
    split = arguments.split or recipe.test_split
    measured(recipe, original, arguments.out / "original", split)
    chosen = rows(arguments.external_weight, arguments.energy_weight)
    for seed in range(arguments.seeds):
        for row in chosen:
            if seed < row.seeds and (not arguments.rows or row.name in arguments.rows):
                run_row(recipe, row, seed, original, arguments.out, split)
                write_text(arguments.out / "table.md", table(arguments.out, chosen))
    print(table(arguments.out, chosen))


def run_row(recipe: Recipe, row: Row, seed: int, original: Path, out: Path, split: str) -> None:
    """Stage 2 with one seed, measured as it is and, where the classifier was frozen, with one trained afresh."""
    folder = out / "rows" / row.name / str(seed)
    training = replace(recipe.gain, seed=seed, validate_every=recipe.gain.steps)  # rows are measured afterwards
    weights = train_gain(
        TrainGain(str(original), str(folder), True, recipe.data, row.objective, training, recipe.hardware)
    )
    measured(recipe, weights, folder, split)
    if row.objective.freeze_classifier:
        again = folder / "retrained"
        stage = replace(recipe.classifier, seed=seed, validate_every=recipe.classifier.steps)
        options = TrainClassifier(str(weights), str(again), True, True, recipe.data, stage, recipe.hardware)
        measured(recipe, train_classifier(options), again, split)


def measured(recipe: Recipe, weights: Path, folder: Path, split: str) -> None:
    """Evaluate into the folder, unless it has been done."""
    if not (folder / "metrics.json").is_file():
        evaluate_networks(Evaluate([str(weights)], None, str(folder), data=replace(recipe.data, split=split)))


def table(out: Path, chosen: Sequence[Row]) -> str:
    """Mean and spread (standard deviation over seeds) in percent, and paired differences from the row's control."""
    lines = ["| row | seeds | " + " | ".join(HEADINGS) + " |", "|---|---|" + "---|" * len(HEADINGS)]
    lines += [line("Original", figures_of(out / "original", [""]))]
    for row in chosen:
        seeds = [str(seed) for seed in range(row.seeds)]
        lines.append(line(row.name, figures_of(out / "rows" / row.name, seeds)))
        if row.objective.freeze_classifier:
            lines.append(
                line(f"{row.name}, classifier retrained", figures_of(out / "rows" / row.name, seeds, "retrained"))
            )
    return "\n".join([*(text for text in lines if text), "", *differences(out, chosen), ""])


def figures_of(folder: Path, seeds: Sequence[str], inside: str = "") -> dict[str, dict[str, float]]:
    """Figures by seed, of the seeds that are finished."""
    files = {seed: folder / seed / inside / "metrics.json" for seed in seeds}
    return {seed: json.loads(file.read_text())[0] for seed, file in files.items() if file.is_file()}


def line(name: str, figures: dict[str, dict[str, float]]) -> str:
    """One row of the table; nothing where no seed is finished."""
    if not figures:
        return ""
    cells = [spread([100 * row[key] for row in figures.values()]) for key in FIGURES]
    return f"| {name} | {len(figures)} | " + " | ".join(cells) + " |"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; the mean alone where there is but one value."""
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


def differences(out: Path, chosen: Sequence[Row]) -> Iterator[str]:
    """Each guided row minus each control, seed by seed."""
    yield "| paired difference | seeds | " + " | ".join(HEADINGS) + " |"
    yield "|---|---|" + "---|" * len(HEADINGS)
    controls = [row for row in chosen if row.name.startswith("Control")]
    for row in [row for row in chosen if row not in controls]:
        guided = figures_of(out / "rows" / row.name, [str(seed) for seed in range(row.seeds)])
        for control in controls:
            reference = figures_of(out / "rows" / control.name, list(guided))
            shared = sorted(guided.keys() & reference.keys())
            if shared:
                cells = [spread([100 * (guided[s][key] - reference[s][key]) for s in shared]) for key in FIGURES]
                yield f"| {row.name} - {control.name} | {len(shared)} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
