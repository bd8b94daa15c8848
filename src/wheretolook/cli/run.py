"""The commands `run` and `demo`: all stages of a recipe, for each of its seeds, and what came of it."""

from dataclasses import asdict, replace
from pathlib import Path

from wheretolook.cli.console import console
from wheretolook.cli.evaluate import measure
from wheretolook.cli.train import to_guide, train_classifier, train_gain, train_segmenter
from wheretolook.cli.typed import typed_command
from wheretolook.cli.visualize import check_count, draw
from wheretolook.data import open_dataset
from wheretolook.errors import ConfigError
from wheretolook.evaluation.evaluate import Figures
from wheretolook.files import require_writable, user_path, write_json, write_text
from wheretolook.options.commands import Evaluate, Recipe, TrainClassifier, TrainGain, TrainSegmenter, Visualize
from wheretolook.options.training import TrainingOptions
from wheretolook.report.curves import summary_picture
from wheretolook.report.recorded import EVALUATION_FILE, METRICS_FILE, REPORT_FOLDER, read_run
from wheretolook.report.run_page import REPORT_FILE, write_run_page
from wheretolook.report.seeds import mean_rows, seed_markdown, seed_tables
from wheretolook.report.tables import class_markdown
from wheretolook.report.verdict import verdict
from wheretolook.runs.folder import environment, is_main_process
from wheretolook.training.controls import control_objectives

GUIDED = "Guided"


def run_recipe(recipe: Recipe) -> list[Figures]:
    """All stages, the controls, the tables and the pictures; skips what is done, goes on with what was cut off.

    Where several processes train, one of them measures and draws; the others return no figures.

    Returns:
        The figures of every row of every seed.
    """
    check_count(recipe.pictures)
    if recipe.seeds < 1:
        raise ConfigError(f"expected at least 1 seed, got {recipe.seeds}")
    recipe = with_test_held_out(recipe)
    out = user_path(recipe.out)
    open_dataset(replace(recipe.data, split=recipe.test_split), recipe.test_split)  # before the training, not after
    if is_main_process():
        require_writable(out / REPORT_FOLDER)
    networks = [train_rows(seeded(recipe, seed), seed_folder(out, seed)) for seed in range(recipe.seeds)]
    return report(recipe, networks, out) if is_main_process() else []


def with_test_held_out(recipe: Recipe) -> Recipe:
    """The recipe with its test split kept out of training: the table must not be of images that SBD brought in."""
    return replace(recipe, data=replace(recipe.data, held_out=[*recipe.data.held_out, recipe.test_split]))


def seed_folder(out: Path, number: int) -> Path:
    """Where the runs of one of a recipe's seeds lie: those of the first in the recipe's own folder."""
    return out / f"seed_{number}" if number else out


def seeded(recipe: Recipe, number: int) -> Recipe:
    """The recipe with every stage's seed that many further."""

    def later(training: TrainingOptions) -> TrainingOptions:
        return replace(training, seed=training.seed + number)

    return replace(
        recipe,
        segmenter=None if recipe.segmenter is None else later(recipe.segmenter),
        classifier=None if recipe.classifier is None else later(recipe.classifier),
        guidance=later(recipe.guidance),
    )


def train_rows(recipe: Recipe, out: Path) -> dict[str, Path]:
    """The network of every row of the table, trained unless it is there already: Original, controls, Guided."""
    start = stages_before_guidance(recipe, out)
    options = TrainGain(
        None if start is None else str(start),
        str(out / "guided"),
        resume=True,
        data=recipe.data,
        network=recipe.network,
        objective=recipe.guided,
        training=recipe.guidance,
        hardware=recipe.hardware,
    )
    guided, network = recipe.guided, None
    if guided.segmentation.weight is None or guided.mining.weight is None:
        network, guided = to_guide(options)  # the first row's
    objectives = control_objectives(guided) if recipe.controls else {}
    rows = {} if start is None else {"Original": start}
    for name, objective in {**objectives, GUIDED: guided}.items():
        folder = str(out / name.lower().replace(" + ", "_"))
        rows[name] = train_gain(replace(options, out=folder, objective=objective), network, page=False)
        network = None
    return rows


def stages_before_guidance(recipe: Recipe, out: Path) -> Path | None:
    """Stages 0 and 1 of a recipe, unless they are done; returns what stage 2 starts from: the table's Original.

    Args:
        recipe: what to train.
        out: where the runs lie.

    Returns:
        A weights file; None where stage 2 starts from what the network's options make.

    Raises:
        ConfigError: the recipe has neither weights nor a stage or a network that makes them.
    """
    if recipe.weights is None and recipe.segmenter is None and recipe.network.name is None:
        raise ConfigError("expected weights, a segmenter stage or network.name, got none; give one of them")
    weights, network = recipe.weights, recipe.network
    if recipe.segmenter is not None:
        first = TrainSegmenter(
            weights, str(out / "segmenter"), True, recipe.data, network, recipe.segmenter, recipe.hardware
        )
        weights = str(train_segmenter(first, page=False))
    if recipe.classifier is None:
        return _given(replace(recipe, weights=weights))
    return train_classifier(
        TrainClassifier(
            weights,
            str(out / "classifier"),
            resume=True,
            data=recipe.data,
            network=network,
            training=recipe.classifier,
            hardware=recipe.hardware,
        ),
        page=False,
    )


def _given(recipe: Recipe) -> Path | None:
    """The weights that the recipe names."""
    return None if recipe.weights is None else user_path(recipe.weights)


def report(recipe: Recipe, networks: list[dict[str, Path]], out: Path) -> list[Figures]:
    """Measure every row of every seed on the test split, and leave tables and pictures in the folder `report`.

    Args:
        recipe: what was trained.
        networks: for each seed, the network of each row.
        out: the recipe's folder.
    """
    test, accelerator = replace(recipe.data, split=recipe.test_split), recipe.hardware.accelerator
    folder = out / REPORT_FOLDER
    dataset = open_dataset(test, test.split)
    rows: list[Figures] = []
    for number, runs in enumerate(networks):
        options = Evaluate(
            [str(path) for path in runs.values()], list(runs), str(folder), accelerator, test, recipe.network
        )
        found = measure(options, dataset, say_classes=number == 0)
        rows += [{**row, "seed": number} for row in found]
    means = mean_rows(rows)
    write_json(folder / METRICS_FILE, rows)
    said = verdict(rows)
    tables = (f"{said}\n" if said else "", seed_markdown(rows), class_markdown(means, dataset.class_names))
    write_text(folder / "metrics.md", "\n".join(table for table in tables if table))
    record = {"recipe": asdict(recipe), "command": typed_command(), "class_names": dataset.class_names}
    write_json(folder / EVALUATION_FILE, {**record, **environment()})
    console.print(*seed_tables(rows))
    if said is not None:
        console.print(str(said))
    summary_picture(means, folder / "summary.png")
    first = list(networks[0].values())
    pictures = Visualize(
        str(first[0]),
        str(first[-1]),
        str(folder),
        count=recipe.pictures,
        accelerator=accelerator,
        data=test,
        network=recipe.network,
    )
    sheet = draw(pictures)
    write_run_page(read_run(out), out / REPORT_FILE)
    console.print(f"open {out / REPORT_FILE} (everything), {sheet} (pictures), and {folder / 'summary.png'}")
    return rows
