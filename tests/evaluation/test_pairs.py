"""Records of pairs: their means are the figures, and each is what a pencil gives."""

import csv
import math
from pathlib import Path
from statistics import fmean

import pytest
import torch

from wheretolook.errors import DataError
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.pairs import PairFigures, border_band, measure_pairs
from wheretolook.records import VOID, Batch, GuidedOutput, collate
from wheretolook.report.pairs import read_pairs, write_pairs

from ..training.made import NAMES, ConstantNetwork, floats, made_batch, made_network, made_samples


def mean_of(pairs: list[PairFigures], name: str) -> float:
    return fmean(getattr(pair, name) for pair in pairs if pair.annotated)


def one_class_each() -> Batch:
    samples = [one for one in made_samples() if one.labels.sum() == 1]
    return floats(collate([one._replace(exclusive=True) for one in samples]))


MEANS = {
    "energy": "energy_pointing",
    "iou": "attention_iou_20",
    "recall": "attention_recall",
    "precision": "attention_precision",
    "pointing": "pointing_game",
    "empty": "empty_maps",
}


@pytest.mark.parametrize("flip", [False, True])
def test_their_means_are_the_figures(flip: bool):
    network, batches = made_network().float(), [floats(made_batch()), one_class_each()]
    pairs, figures = measure_pairs(network, batches, flip=flip), evaluate(network, batches, flip=flip)
    for name, key in MEANS.items():
        assert mean_of(pairs, name) == pytest.approx(figures[key], rel=1e-5), name
    over_chance = mean_of(pairs, "energy") / mean_of(pairs, "chance")
    assert over_chance == pytest.approx(figures["energy_pointing_over_chance"], rel=1e-5)
    assert all(pair.chance < pair.ceiling <= 1 for pair in pairs if pair.annotated)
    assert sum(pair.annotated for pair in pairs) == figures["pairs"] < len(pairs)


def test_where_every_image_shows_one_class_right_is_image_accuracy():
    network, batch = made_network().float(), one_class_each()
    pairs = measure_pairs(network, [batch])
    assert fmean(pair.right for pair in pairs) == evaluate(network, [batch])["image_accuracy"]
    scores = network(network.preprocessing(batch.images)).class_scores.detach()
    for pair, row in zip(pairs, scores, strict=True):
        chances = row.exp() / row.exp().sum()
        assert pair.probability == pytest.approx(float(chances[pair.class_index]))
        assert pair.score == pytest.approx(float(row[pair.class_index]))
        assert pair.predicted == NAMES[max(range(3), key=row.tolist().__getitem__)]
        assert pair.right == (pair.predicted == pair.class_name)


def test_records_come_image_by_image_with_what_the_batch_says_of_them():
    batch = floats(made_batch())
    batch = batch._replace(groups=tuple(f"group of {name}" for name in batch.names))
    pairs = measure_pairs(made_network().float(), [batch])
    assert [(pair.name, pair.class_index) for pair in pairs] == [
        (batch.names[image], index) for image, index in batch.pairs.tolist()
    ]
    assert all(pair.group == f"group of {pair.name}" and NAMES[pair.class_index] == pair.class_name for pair in pairs)
    assert {pair.name for pair in pairs if not pair.annotated} == {"labelled"}
    assert all((1 / (1 + math.exp(-pair.score)) > 0.5) == pair.right for pair in pairs)


def test_a_pencil_says_what_lies_on_the_border():
    """The network attends to what green draws: one pixel of the border, three inside, one of them void."""
    image = torch.zeros(3, 10, 10)
    image[1, 0, 4] = image[1, 4, 4] = image[1, 4, 5] = image[1, 6, 6] = 0.1
    mask = torch.zeros(10, 10, dtype=torch.long)
    mask[4, 4:6], mask[6, 6] = 1, VOID
    plane = torch.where(mask == VOID, VOID, mask).to(torch.uint8)[None]
    sample = made_samples()[0]._replace(
        image=image, mask=mask, labels=torch.tensor([True, False, False]), targets=plane
    )
    (pair,) = measure_pairs(ConstantNetwork(), [collate([sample])])
    assert (pair.border, pair.border_chance) == pytest.approx((1 / 3, 36 / 99))
    assert (pair.energy, pair.chance, pair.recall) == pytest.approx((2 / 3, 2 / 99, 1.0))
    assert pair.ceiling == pytest.approx(1.0)  # its features are of the image's size
    unknown = sample._replace(targets=torch.full_like(plane, VOID))
    (pair,) = measure_pairs(ConstantNetwork(), [collate([unknown])])
    assert not pair.annotated and math.isnan(pair.recall) and not pair.empty
    assert (pair.border, pair.border_chance) == pytest.approx((1 / 4, 36 / 100))
    blind = sample._replace(image=torch.zeros(3, 10, 10))
    (pair,) = measure_pairs(ConstantNetwork(), [collate([blind])])
    assert pair.empty and pair.energy == pair.border == 0 and not pair.right


class Halved(ConstantNetwork):
    """Its features are means of two by two pixels."""

    def forward(self, images: torch.Tensor, *, segment: bool = True) -> GuidedOutput:
        output = super().forward(images, segment=segment)
        with torch.inference_mode(False), torch.enable_grad():
            features = torch.nn.functional.avg_pool2d(output.features.detach(), 2).clone().requires_grad_()
            return output._replace(features=features, class_scores=features.mean(dim=(2, 3)) - self.margin)


def test_the_ceiling_is_the_energy_of_each_cells_share_stretched_by_hand():
    """Weights of a stretched cell: 3/4 of its own and 1/4 of the nearest beside it, none beyond the edge."""
    mask = torch.zeros(10, 10, dtype=torch.long)
    mask[3:6, 4:9], mask[7] = 1, VOID
    plane = torch.where(mask == VOID, VOID, mask).to(torch.uint8)[None]
    labels = torch.tensor([True, False, False])
    sample = made_samples()[0]._replace(image=torch.zeros(3, 10, 10), mask=mask, labels=labels, targets=plane)
    (pair,) = measure_pairs(Halved(), [collate([sample])])
    cells = [
        [float((mask[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] == 1).float().mean()) for j in range(5)] for i in range(5)
    ]

    def near(pixel: int) -> list[tuple[int, float]]:
        beside = min(max(pixel // 2 + (1 if pixel % 2 else -1), 0), 4)
        return [(pixel // 2, 0.75), (beside, 0.25)]

    inside = everywhere = 0.0
    for row in range(10):
        for column in range(10):
            value = sum(a * b * cells[i][j] for i, a in near(row) for j, b in near(column))
            inside += value * (mask[row, column] == 1).item()
            everywhere += value * (mask[row, column] != VOID).item()
    assert pair.ceiling == pytest.approx(inside / everywhere) and 0.5 < pair.ceiling < 0.9


def test_the_border_is_a_tenth_of_the_shorter_side():
    assert int(border_band((20, 30)).sum()) == 20 * 30 - 16 * 26 and int(border_band((3, 3)).sum()) == 8


def test_images_without_classes_have_no_record():
    samples = [one for one in made_samples() if not one.labels.any()]
    assert measure_pairs(made_network().float(), [floats(collate(samples))]) == []


def test_the_table_can_be_read_again(tmp_path: Path):
    batch = floats(made_batch())
    batch = batch._replace(groups=('a "group", with a comma\nand a line',) * len(batch.names))
    pairs = measure_pairs(made_network().float(), [batch])
    write_pairs(tmp_path / "pairs.csv", pairs)
    again = read_pairs(tmp_path / "pairs.csv")
    assert [pair[:4] for pair in again] == [pair[:4] for pair in pairs]
    for one, other in zip(again, pairs, strict=True):
        assert one.right == other.right and one[4:6] == pytest.approx(other[4:6], rel=1e-5)
        assert one[8:] == pytest.approx(other[8:], rel=1e-5, nan_ok=True)
    with (tmp_path / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(pairs)
    for row, pair in zip(rows, pairs, strict=True):
        assert (row["name"], row["class_name"], row["group"]) == (pair.name, pair.class_name, pair.group)
        assert (row["right"] == "1") == pair.right and float(row["score"]) == pytest.approx(pair.score, rel=1e-5)
        assert (row["energy"] == "") == (not pair.annotated)


def test_what_is_no_table_of_pairs_is_said(tmp_path: Path):
    for text in ("name,score\na,b\n", "name\nb\n"):
        (tmp_path / "pairs.csv").write_text(text)
        with pytest.raises(DataError, match="expected a table of pairs"):
            read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(DataError):
        read_pairs(tmp_path / "nowhere.csv")
