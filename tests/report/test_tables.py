import math

import pytest
import torch
from rich.console import Console

from wheretolook.report.tables import class_markdown, class_table, results_markdown, results_table

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
