"""What the tests of the command line share: small worlds, small networks, and the reading of complaints."""

import pytest

from wheretolook.cli.main import main

SCENES = {"size": 40, "classes": 3, "images": 5}
SERVED = ["--data.scenes.size=40", "--data.scenes.classes=3", "--data.scenes.images=5", "--data.batch_size=3"]
QUICK = ["--training.steps=2", "--training.validate_every=2", "--hardware.accelerator=cpu"]
CLASSES = ("striped_disc", "dotted_square", "checked_triangle")
NARROW = {"widths": (4, 8, 8, 8, 8), "segmenter_width": 16, "classifier_widths": (16, 16)}
KEYS = [
    *("weights", "accuracy", "accuracy_class", "mean_iu", "fwavacc"),
    *("image_accuracy", "worst_class_accuracy", "worst_group_accuracy", "mean_average_precision", "f1"),
    *("energy_pointing", "energy_pointing_over_chance", "attention_iou", "attention_iou_20", "attention_iou_ceiling"),
    *("attention_recall", "attention_precision"),
    *("pointing_game", "empty_maps", "energy_on_mark", "energy_on_mark_over_chance", "deletion", "insertion"),
    *("images", "masks", "pairs", "energy_on_mark_per_class"),
    *("iu_per_class", "accuracy_per_class", "average_precision_per_class", "accuracy_per_group"),
]


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line on what is wrong: one, on stderr, with exit code 2."""
    assert main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("wheretolook: ")
    return lines[0].removeprefix("wheretolook: ")
