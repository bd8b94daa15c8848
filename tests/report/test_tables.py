import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from wheretolook.evaluation.evaluate import Evaluator
from wheretolook.metrics.attention import AttentionFigures
from wheretolook.metrics.classification import ClassificationFigures
from wheretolook.metrics.figures import FIGURES, Figure, Gathered, validated
from wheretolook.metrics.marks import MarkFigures
from wheretolook.metrics.segmentation import SegmentationFigures
from wheretolook.records import Batch, GuidedOutput
from wheretolook.report.seeds import mean_rows, seed_cells
from wheretolook.report.tables import (
    MARK_FIGURE,
    class_markdown,
    class_table,
    figures_markdown,
    results_markdown,
    results_table,
)

ROWS = [
    {
        "weights": "Original",
        "accuracy": 0.912345678,
        "mean_iu": torch.tensor(0.65514, dtype=torch.float64),
        "mean_average_precision": 0.9,
        "energy_pointing": None,
        "energy_pointing_over_chance": 1.529,
        "images": 200,
    },
    {"weights": "Guided [best]", "accuracy": 1, "mean_iu": math.nan, "mean_average_precision": 0.00004, "images": 200},
]


def test_markdown_is_exact() -> None:
    assert results_markdown(ROWS) == (
        "| Weights | Accuracy | Mean IU | mAP | over chance | Images |\n"
        "| :-- | --: | --: | --: | --: | --: |\n"
        "| Original | 91.2346 | 65.5140 | 90.00 | 1.53x | 200 |\n"
        "| Guided [best] | 100.0000 | \N{EN DASH} | 0.00 | \N{EN DASH} | 200 |\n"
    )


def test_a_seed_without_a_figure_leaves_the_mean_to_the_others() -> None:
    rows = [
        {
            "weights": "a",
            "seed": seed,
            "f1": value,
            "accuracy_per_class": [value, 0.5],
            "accuracy_per_group": {"g": value},
        }
        for seed, value in enumerate([0.25, math.nan, math.inf, None, 0.75])
    ]
    assert mean_rows(rows) == [
        {"weights": "a", "f1": 0.5, "accuracy_per_class": [0.5, 0.5], "accuracy_per_group": {"g": 0.5}}
    ]


def test_columns_are_those_asked_for_in_that_order() -> None:
    assert results_markdown(
        [{"weights": "a|b", "f1": 0.5, "attention_iou_20": 0.25}], ["attention_iou_20", "weights"]
    ) == ("| at 20 % | Weights |\n| :-- | --: |\n| 25.00 | a\\|b |\n")


def test_terminal_shows_the_same_figures_turned_by_a_right_angle() -> None:
    table = results_table(ROWS, ["weights", "accuracy", "energy_pointing_over_chance"], title="val")
    assert [[str(cell) for cell in column.cells] for column in table.columns] == [
        ["Accuracy", "over chance"],
        ["91.2346", "1.53x"],
        ["100.0000", "\N{EN DASH}"],
    ]
    assert [str(column.header) for column in table.columns] == ["", "Original", "Guided [best]"]


def test_every_figure_of_three_weights_fits_a_narrow_terminal() -> None:
    names = ("Original", "Control", "Guided")
    rows = [{**ROWS[0], "weights": name, "attention_iou_ceiling": 1.0, "pointing_game": 1.0} for name in names]
    console = Console(width=60)
    with console.capture() as capture:
        console.print(results_table(rows))
    lines = capture.get().splitlines()
    assert [line.split()[-3:] for line in lines if line.startswith("Accuracy")] == [["91.2346"] * 3]
    assert len(lines) == 1 + 7 + 1  # headings, a line for each figure, the caption: none is folded


def test_classes_start_with_background() -> None:
    rows = [
        {"weights": "Original", "iu_per_class": [0.9, 0.5, math.nan]},
        {"weights": "Guided", "iu_per_class": torch.tensor([0.75, 0.25, 0.125])},
    ]
    assert class_markdown(rows, ["boat", "cow"]) == (
        "| Class (IU in percent) | Original | Guided |\n| :-- | --: | --: |\n"
        "| background | 90.00 | 75.00 |\n| boat | 50.00 | 25.00 |\n| cow | \N{EN DASH} | 12.50 |\n"
    )
    assert [str(cell) for cell in class_table(rows, ["boat", "cow"]).columns[0].cells] == ["background", "boat", "cow"]
    with pytest.raises(ValueError):
        class_markdown(rows, ["boat"])


def test_the_docs_say_of_every_figure_what_it_cannot_see() -> None:
    assert figures_markdown() in (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    for figure in FIGURES.values():
        assert figure.blind.endswith(".") and len(figure.blind.split()) > 4


def test_a_new_figure_is_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured by the evaluator and printed by the tables, as a mean over pairs and of all that was gathered."""
    toy = Figure("toy", "Toy", "attention", "Anything.", of_pairs=lambda maps, target, valid: maps.sum(dim=(1, 2)))
    twice = Figure("twice", "Twice", "count", "Anything.", lambda gathered: 2 * gathered.images, unit="ratio")
    for figure in (toy, twice):
        monkeypatch.setitem(FIGURES, figure.key, figure)
    features = torch.tensor([[[[0.25, 0.5]]]], requires_grad=True)  # the map itself, for its weight is a mean gradient
    labels = torch.tensor([[True]])
    batch = Batch(
        torch.zeros(1, 3, 1, 2), torch.tensor([[[1, 0]]]), labels, labels.nonzero(),
        torch.tensor([[[1, 0]]], dtype=torch.uint8), torch.tensor([True]), ("a",), ("",),
    )  # fmt: skip
    evaluator = Evaluator(1)
    evaluator.update(GuidedOutput(features.sum(dim=(2, 3)), features), batch)
    row = {"weights": "A", **evaluator.compute()}
    assert (row["toy"], row["twice"]) == (0.75, 2)
    assert results_markdown([row], ["toy", "twice"]).endswith("| 75.00 | 2.00x |\n")
    assert results_markdown([row]).splitlines()[0].endswith("| Toy | Twice |")


def test_of_a_thousand_classes_the_best_and_the_worst_are_shown() -> None:
    """By the mean over the rows, each class once, and how many are left out; classes that never occur do not count."""
    names = [f"class {index}" for index in range(1000)]
    shares = torch.randperm(1000).div(999).tolist()
    shares[7] = math.nan
    rows = [{"weights": "A", "accuracy_per_class": shares}, {"weights": "B", "accuracy_per_class": [1.0] * 1000}]
    rows[1]["accuracy_per_class"][7] = math.nan
    heading, _, *lines = class_markdown(rows, names).splitlines()
    assert heading.split(" | ")[1:] == ["A", "B |"]
    shown = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    ranked = sorted((index for index in range(1000) if index != 7), key=lambda index: -shares[index])
    expected = [names[index] for index in ranked]
    assert shown == [*expected[:20], "(959 between them)", *expected[-20:]]
    assert lines[-1] == f"| {expected[-1]} | {100 * shares[ranked[-1]]:.2f} | 100.00 |"


def test_the_class_table_is_of_the_first_figure_that_anyone_measured() -> None:
    nothing, known = [math.nan] * 2, [0.25, 0.75]
    rows = [
        {
            "weights": "A",
            "iu_per_class": [math.nan] * 3,
            "accuracy_per_class": nothing,
            "average_precision_per_class": known,
        },
        {"weights": "B", "iu_per_class": [0.5, 0.25, math.nan], "accuracy_per_class": known},
    ]

    def cells(rows: list[dict[str, object]]) -> list[list[str]]:
        return [
            [part.strip() for part in line.strip("|").split("|")]
            for line in class_markdown(rows, ["a", "b"]).splitlines()[2:]
        ]

    dash = "\N{EN DASH}"
    assert cells(rows[:1]) == [["a", "25.00"], ["b", "75.00"]]
    assert cells(rows) == [["background", dash, "50.00"], ["a", dash, "25.00"], ["b", dash, dash]]
    assert class_markdown([{"weights": "A", "iu_per_class": nothing}], ["a"]) == ""
    assert class_table([{"weights": "A"}], ["a"]) is None


def test_the_headings_of_all_figures() -> None:
    (heading, *_) = results_markdown([{"weights": "A", **dict.fromkeys(FIGURES, 0.5)}]).splitlines()
    assert heading == (
        "| Weights | Accuracy | Accuracy Class | Mean IU | FWAVACC | Image accuracy | Worst class | Worst group | mAP "
        "| F1 | Energy pointing | over chance | Attention IoU | at 20 % | Recall | Precision | Ceiling | Pointing game "
        "| Empty maps | Energy on mark | over chance | Deletion | Insertion | Images | with masks | Pairs |"
    )


def test_every_figure_is_printed_in_its_own_unit() -> None:
    """Four decimals for the four figures of segmentation, as the literature has them, two for other shares."""
    counts = ("images", "masks", "pairs")
    ratios = ("energy_pointing_over_chance", "energy_on_mark_over_chance")
    four = ("accuracy", "accuracy_class", "mean_iu", "fwavacc")
    for key in FIGURES:
        unit = "7" if key in counts else "7.00x" if key in ratios else "700.0000" if key in four else "700.00"
        assert results_markdown([{"weights": "A", key: 7}], [key]).splitlines()[-1] == f"| {unit} |"


def test_every_figure_is_taken_from_the_field_of_its_name() -> None:
    """Each field of what is gathered holds a number of its own."""
    number = iter(range(1, 1000))
    kinds = (SegmentationFigures, ClassificationFigures, AttentionFigures, AttentionFigures, MarkFigures)
    records = [kind(*(next(number) for _ in kind._fields)) for kind in kinds]
    means = {key: next(number) for key in ("attention_recall", "attention_precision", "deletion", "insertion")}
    gathered = Gathered(*records, means, next(number), next(number))
    for key, figure in FIGURES.items():
        homes = [home for home in (gathered, *records[:3], records[4]) if hasattr(home, key)]
        if key in means:
            expected = means[key]
        else:
            expected = gathered.ceiling.attention_iou if key == "attention_iou_ceiling" else getattr(homes[0], key)
        assert figure.measured(gathered) == expected, key


def test_validation_measures_what_its_stage_is_about() -> None:
    assert validated("classification") == ("image_accuracy", "mean_average_precision", "f1")
    assert validated("segmentation", "attention") == ("accuracy", "mean_iu", "energy_pointing", "attention_iou")


def test_terminal_tables_put_names_left_and_numbers_right_with_title_and_caption() -> None:
    rows = [{"weights": "A", "f1": 0.5, "iu_per_class": [0.5, 0.25]}]
    for table, caption in (
        (results_table(rows, title="val"), "shares in percent"),
        (class_table(rows, ["boat"], title="val"), "IU in percent"),
    ):
        assert [column.justify for column in table.columns] == ["left", "right"]
        assert (table.title, table.caption) == ("val", caption)
        assert (table.title_justify, table.caption_justify) == ("left", "left")
    accuracies = {"weights": "A", "accuracy_per_class": [0.5], "average_precision_per_class": [0.25]}
    assert "recognised" in class_table([accuracies], ["a"]).caption
    del accuracies["accuracy_per_class"]
    assert class_table([accuracies], ["a"]).caption == "average precision in percent"
    assert class_markdown([accuracies], ["a"]).startswith("| Class (average precision in percent) | A |")
    marks = [{**accuracies, "energy_on_mark_per_class": [0.125]}]
    found = class_markdown(marks, ["a"], figures=[MARK_FIGURE]).splitlines()
    assert found[0].startswith("| Class (share of attention on the mark in percent)") and found[2] == "| a | 12.50 |"
    assert class_markdown([accuracies], ["a"], figures=[MARK_FIGURE]) == ""


def test_what_a_figure_of_classes_must_be_is_said() -> None:
    with pytest.raises(TypeError, match="iu_per_class is a sequence or a tensor, not float"):
        class_markdown([{"weights": "A", "iu_per_class": 0.5}], ["a"])


def test_forty_classes_are_shown_in_their_order_and_one_more_by_rank() -> None:
    shares = [(7 * index) % 41 / 41 for index in range(41)]
    names = [str(index) for index in range(41)]

    def shown(count: int) -> list[str]:
        lines = class_markdown([{"weights": "A", "accuracy_per_class": shares[:count]}], names[:count]).splitlines()[2:]
        return [line.split(" | ")[0].removeprefix("| ") for line in lines]

    assert shown(40) == names[:40]
    ranked = sorted(range(41), key=lambda index: -shares[index])
    expected = [names[index] for index in ranked]
    assert shown(41) == [*expected[:20], "(1 between them)", *expected[-20:]]
    shares[3] = math.nan  # never occurs: then forty are left, all shown
    assert shown(41) == [name for name in expected if name != "3"]


def test_a_caption_has_the_width_of_the_terminal_and_not_of_its_table() -> None:
    rows = [{"weights": "A", "accuracy_per_class": [0.5]}]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(class_table(rows, ["a"]))
    assert "share of a class's images that are recognised, in percent" in capture.get().splitlines()[-1]


def test_counts_stand_in_the_table_of_seeds_and_not_in_that_of_differences() -> None:
    """Two networks see the same images, so that their number says nothing of either."""
    rows = [
        {"weights": name, "seed": seed, "f1": share + seed / 4, "images": 7, "energy_pointing_over_chance": 2 * share}
        for seed in range(2)
        for name, share in (("A", 0.25), ("B", 0.5), ("C", 0.75))
    ]
    (_, names, cells), (title, pairs, changes) = seed_cells(rows)
    assert names == ["A", "B", "C"] and pairs == ["C - A", "C - B"] and title == "Paired difference"
    assert cells == [
        ["F1", "37.50 ± 17.68", "62.50 ± 17.68", "87.50 ± 17.68"],
        ["over chance", "0.50x ± 0.00x", "1.00x ± 0.00x", "1.50x ± 0.00x"],
        ["Images", "7", "7", "7"],
    ]
    assert changes == [
        ["F1", "+50.00 ± 0.00", "+25.00 ± 0.00"],
        ["over chance", "+1.00x ± 0.00x", "+0.50x ± 0.00x"],
    ]
