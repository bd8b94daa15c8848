"""Every loss of stage 2 on photographs, from one and the same Original, with the same steps and the same data order.

    .venv/bin/python benchmarks/photoscenes.py --out runs/photoscenes

Restartable: what is finished is skipped, and the table is written anew after every row. The recipe is
recipes/photoscenes.yaml; each row changes only which of its losses are on. Options of the recipe may follow, such as
--guidance.steps=200; give their rows another --folder. Rows with a frozen classifier are measured twice: with the
classifier of stage 1, and with one trained afresh on the row's own trunk.
"""

import argparse
import json
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from wheretolook.cli.evaluate import evaluate_networks
from wheretolook.cli.main import read_recipe
from wheretolook.cli.run import stages_before_guidance, with_test_held_out
from wheretolook.cli.train import train_classifier, train_gain
from wheretolook.files import write_text
from wheretolook.metrics.figures import FIGURES
from wheretolook.options.commands import Evaluate, Recipe, TrainClassifier, TrainGain
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions

SHOWN = (
    "mean_iu",
    "accuracy",
    "mean_average_precision",
    "energy_pointing",
    "attention_iou",
    "attention_iou_ceiling",
    "attention_iou_20",
    "pointing_game",
)
HEADER = "| {} | seeds | " + " | ".join(FIGURES[key].heading for key in SHOWN) + " |"
RULE = "|---|---|" + "---|" * len(SHOWN)
Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One objective, and how many seeds it is worth."""

    name: str
    objective: ObjectiveOptions
    seeds: int = 1

    @property
    def segmentation(self) -> float | None:
        """What segmentation weighs."""
        return self.objective.segmentation.weight


def weighing(objective: ObjectiveOptions, **weights: float) -> ObjectiveOptions:
    """The objective with other weights of these losses."""
    return replace(objective, **{name: replace(getattr(objective, name), weight=weights[name]) for name in weights})


def rows(guided: ObjectiveOptions, external_weight: float) -> list[Row]:
    """The rows of the table: the recipe's guided objective with other losses on.

    GAIN's rows weigh segmentation as its predecessor does; the last rows show what that costs the others.

    Args:
        guided: the recipe's: classification, energy and segmentation, the classifier training along.
        external_weight: of the squared external loss, whose scale is another than the energy's.
    """

    def frozen(objective: ObjectiveOptions) -> ObjectiveOptions:
        return replace(objective, freeze_classifier=True, channel_weights="constant")

    classified = weighing(guided, energy=0.0)
    lighter, lighter_classified = (weighing(objective, segmentation=1.5) for objective in (guided, classified))
    mined = weighing(lighter_classified, mining=1.0)
    squared = weighing(mined, squared=external_weight)
    return [
        # alone, a loss may weigh what it likes: AdamW's steps do not depend on it
        Row("Control", frozen(weighing(lighter_classified, classification=0.0)), 3),
        Row("Control + classification", frozen(classified), 3),
        Row("Control, classifier free", classified, 3),
        Row("Energy, classifier free", guided, 3),
        Row("GAIN", frozen(mined), 3),
        Row("GAIN alone", frozen(weighing(mined, segmentation=0.0))),
        Row("GAIN ext", frozen(squared)),
        Row("GAIN ext, classifier free", squared),
        Row("Energy", frozen(guided)),
        Row("Control + classification, segmentation 1.5", frozen(lighter_classified)),
        Row("Control, classifier free, segmentation 1.5", lighter_classified),
        Row("Energy, segmentation 1.5", frozen(lighter)),
        Row("Energy, classifier free, segmentation 1.5", lighter),
    ]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/photoscenes.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/photoscenes"))
    parser.add_argument("--split", help="where the rows are measured; the recipe's test split unless given")
    parser.add_argument("--rows", nargs="*", help="names of the rows to run; all unless given")
    parser.add_argument("--folder", default="rows", help="where the rows lie, in the folder of their Original")
    parser.add_argument("--seeds", type=int, default=3, help="most seeds a row")
    parser.add_argument("--external_weight", type=float, default=4.0, help="of the squared external loss")
    arguments, options = parser.parse_known_args()
    recipe = with_test_held_out(read_recipe(arguments.recipe, *options))
    bench = Bench(recipe, arguments.out, arguments.out / arguments.folder, arguments.split or recipe.test_split)
    bench.measured(bench.original, arguments.out / "original")
    chosen = rows(recipe.guided, arguments.external_weight)
    wanted = [row for row in chosen if not arguments.rows or row.name in arguments.rows]
    if unknown := {*(arguments.rows or ())} - {row.name for row in chosen}:
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(row.name for row in chosen)}")
    for work in (bench.run_row, bench.retrain):  # all rows first: they say the most
        for seed in range(arguments.seeds):
            for row in wanted:
                if seed < row.seeds:
                    work(row, seed)
                    write_text(bench.rows / "table.md", bench.table(chosen))
    print(bench.table(chosen))


@dataclass(frozen=True)
class Bench:
    """One recipe in one folder, measured on one split."""

    recipe: Recipe
    out: Path
    rows: Path
    split: str

    @cached_property
    def original(self) -> Path:
        """What every row starts from."""
        original = stages_before_guidance(self.recipe, self.out)
        assert original is not None, "the recipe begins with weights or a segmenter"
        return original

    def folder(self, row: Row, seed: int) -> Path:
        """Where a row's network lies."""
        return self.rows / row.name / str(seed)

    def run_row(self, row: Row, seed: int) -> None:
        """Stage 2 with one seed."""
        recipe, folder = self.recipe, self.folder(row, seed)
        budget = recipe.guidance
        options = TrainGain(
            str(self.original),
            str(folder),
            resume=True,
            data=recipe.data,
            objective=row.objective,
            training=replace(budget, seed=seed, validate_every=budget.steps),  # rows are measured afterwards
            hardware=recipe.hardware,
        )
        self.measured(train_gain(options), folder)

    def retrain(self, row: Row, seed: int) -> None:
        """Stage 1 again, on the row's own trunk, where its classifier was frozen and may have gone stale."""
        if not row.objective.freeze_classifier:
            return
        recipe, again = self.recipe, self.folder(row, seed) / "retrained"
        budget = recipe.classifier or TrainingOptions()
        options = TrainClassifier(
            str(self.folder(row, seed)),
            str(again),
            fresh=True,
            resume=True,
            data=recipe.data,
            training=replace(budget, seed=seed, validate_every=budget.steps),
            hardware=recipe.hardware,
        )
        self.measured(train_classifier(options), again)

    def measured(self, weights: Path, folder: Path) -> None:
        """Evaluate into the folder, unless it has been done on this split."""
        out = folder / Path(self.split).stem
        if not (out / "metrics.json").is_file():
            data = replace(self.recipe.data, split=self.split)
            evaluate_networks(Evaluate([str(weights)], None, str(out), data=data))

    def figures(self, folder: Path) -> Figures:
        """What a folder's network measured on this split; nothing where it has not been measured."""
        file = folder / Path(self.split).stem / "metrics.json"
        return dict(json.loads(file.read_text())[0]) if file.is_file() else {}

    def seeds(self, row: Row, inside: str = "") -> dict[int, Figures]:
        """A row's figures by seed, of the seeds that are finished."""
        found = {seed: self.figures(self.folder(row, seed) / inside) for seed in range(row.seeds)}
        return {seed: figures for seed, figures in found.items() if figures}

    def table(self, chosen: Sequence[Row]) -> str:
        """Mean and spread (standard deviation over seeds) in percent, and paired differences from the controls."""
        lines = [HEADER.format("row"), RULE, line("Original", [self.figures(self.out / "original")])]
        for row in chosen:
            lines.append(line(row.name, self.seeds(row).values()))
            lines.append(line(f"{row.name}, classifier retrained", self.seeds(row, "retrained").values()))
        parts = (lines, self.differences(chosen))
        return "\n\n".join("\n".join(text for text in part if text) for part in parts) + "\n"

    def differences(self, chosen: Sequence[Row]) -> Iterator[str]:
        """Each guided row minus its controls, seed by seed; with retrained classifiers where both have one."""
        yield HEADER.format("paired difference")
        yield RULE
        controls = [row for row in chosen if row.name.startswith("Control")]
        for row, control in product([row for row in chosen if row not in controls], controls):
            if control.objective.classification.weight and control.segmentation != row.segmentation:
                continue  # a control of other rows
            for inside in ("", "retrained"):
                guided, reference = self.seeds(row, inside), self.seeds(control, inside)
                pairs = [(guided[seed], reference[seed]) for seed in sorted(guided.keys() & reference.keys())]
                found = [{key: ours[key] - theirs[key] for key in SHOWN} for ours, theirs in pairs]
                yield line(f"{row.name} - {control.name}{', both retrained' if inside else ''}", found)


def line(name: str, figures: Collection[Figures]) -> str:
    """One row of the table; nothing where no seed is finished."""
    if not any(figures):
        return ""
    cells = [spread([100 * row[key] for row in figures]) for key in SHOWN]
    return f"| {name} | {len(figures)} | " + " | ".join(cells) + " |"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; the mean alone where there is but one value."""
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


if __name__ == "__main__":
    main()
