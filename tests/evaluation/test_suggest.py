"""Suggestions: turns of classes, the three rules against planted looks, and a list that guides once it is annotated."""

import csv
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from wheretolook.attention.methods import attention_maps
from wheretolook.cli.main import main
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.evaluation import suggest as module
from wheretolook.evaluation.suggest import Looks, in_turn, look, recurrence, suggest
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import collate, shows_object

from ..command_line import complaint
from ..training.made import made_network

SCENES = ScenesOptions(size=48, classes=3, images=12)


def looks(pairs: list[tuple[int, int]], **columns: torch.Tensor) -> Looks:
    """Looks at these (image, class) pairs, alike but for what is given."""
    images, classes = torch.tensor(pairs).unbind(dim=1)
    count = len(pairs)
    plain = Looks(
        images,
        classes,
        torch.full((count,), 0.5),
        torch.full((count,), math.nan),
        torch.zeros(count, 2),
        torch.eye(count),
        torch.eye(count),
    )
    return plain._replace(**columns)


def rows(looks: Looks, rule: str, count: int, free: list[bool] | None = None, seed: int = 0) -> list[int]:
    pick = getattr(module, f"_{rule}")(looks, seed)
    taken = torch.ones(len(looks.images), dtype=torch.bool) if free is None else torch.tensor(free)
    return [row for row, _ in in_turn(looks, taken, count, pick)]


@pytest.mark.parametrize("rule", ["confident", "diverse", "random"])
def test_every_class_has_its_turn_and_those_with_fewest_the_first(rule: str):
    pairs = [(image, int(image >= 10)) for image in range(14)]  # ten of class 0, four of class 1
    seen = looks(pairs)
    chosen = rows(seen, rule, 8)
    assert Counter(seen.classes[chosen].tolist()) == {0: 4, 1: 4} and len(set(chosen)) == 8
    assert sorted(rows(seen, rule, 99)) == list(range(14))  # all there are, once
    free = [image not in (0, 1, 2) for image in range(14)]  # three of class 0 are annotated
    assert seen.classes[rows(seen, rule, 3, free)].tolist() == [1, 1, 1]
    assert not set(rows(seen, rule, 99, free)) & {0, 1, 2}


def test_an_image_counts_for_all_that_it_shows():
    seen = looks([(0, 0), (0, 1), (1, 0), (2, 1), (3, 2)], sure=torch.tensor([0.9, 0.1, 0.2, 0.3, 0.4]))
    seen = seen._replace(beside=torch.ones(5))
    assert rows(seen, "confident", 2) == [0, 4]  # class 1 has had its image with the first
    assert rows(seen, "confident", 9) == [0, 4, 2, 3]


def test_recurrence_is_the_mean_cosine_to_the_nearest_of_the_class():
    random = torch.Generator().manual_seed(0)
    seen = looks([(image, image % 2) for image in range(17)] + [(17, 2)])
    seen = seen._replace(attended=torch.randn(18, 3, generator=random) + 5)
    found, columns = recurrence(seen), seen.attended - seen.attended.mean(dim=0)
    for row in range(18):
        others = [at for at in range(18) if at != row and seen.classes[at] == seen.classes[row]]
        cosines = sorted(float(torch.cosine_similarity(columns[row], columns[at], dim=0)) for at in others)[-5:]
        assert float(found[row]) == pytest.approx(max(0.0, sum(cosines) / max(len(cosines), 1)), abs=1e-5)
    assert found[17] == 0


def test_the_confident_with_attention_beside_the_object_come_first_but_no_twins():
    attended = torch.tensor([[9.0, 0, 0], [9.0, 0.01, 0], [0, 9.0, 0], [0, 0, 9.0]])
    seen = looks([(image, 0) for image in range(4)], attended=attended)
    seen = seen._replace(sure=torch.tensor([0.9, 0.9, 0.5, 0.9]), beside=torch.tensor([0.9, 0.85, 0.9, 0.2]))
    # 1 is wanted more than 2 and 3, and looks at what 0 looks at
    assert rows(seen, "confident", 4) == [0, 2, 3, 1]
    assert rows(seen, "confident", 1, [False, True, True, True]) == [2]  # the twin of one that is annotated


def test_without_masks_what_recurs_is_wanted():
    """Five images look at one thing, five at five others; all are as sure."""
    attended = torch.cat([torch.eye(6)[:1].repeat(5, 1) + 0.01 * torch.eye(6)[1:], torch.eye(6)[1:]])
    seen = looks([(image, 0) for image in range(10)], attended=attended)
    assert rows(seen, "confident", 1)[0] < 5
    seen = seen._replace(sure=torch.tensor([0.01] * 5 + [0.9] * 5), beside=torch.tensor([math.nan] * 5 + [1.0] * 5))
    assert rows(seen, "confident", 1)[0] >= 5


@pytest.mark.parametrize("seed", range(8))
def test_diverse_has_one_of_each_cluster(seed: int):
    random = torch.Generator().manual_seed(seed)
    middles = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).repeat_interleave(6, dim=0)
    seen = looks([(image, 0) for image in range(18)])
    seen = seen._replace(pooled=middles + 1e-3 * torch.randn(18, 3, generator=random))
    assert sorted(row // 6 for row in rows(seen, "diverse", 3, seed=seed)) == [0, 1, 2]
    annotated = [image >= 6 for image in range(18)]
    assert sorted(row // 6 for row in rows(seen, "diverse", 2, annotated, seed)) == [1, 2]


def test_random_is_even_and_of_its_seed():
    seen = looks([(image, 0) for image in range(5)])
    firsts = Counter(rows(seen, "random", 1, seed=seed)[0] for seed in range(400))
    assert set(firsts) == set(range(5)) and all(50 < number < 115 for number in firsts.values())
    assert rows(seen, "random", 3, seed=4) == rows(seen, "random", 3, seed=4)


def test_what_is_seen_is_what_a_loop_finds(tmp_path: Path):
    network = made_network().float()
    masks = tmp_path / "masks"
    masks.mkdir()
    plain = open_dataset(DataOptions(scenes=SCENES), "train")
    for index in range(4):  # of some it is known where the object probably is
        Image.fromarray(plain[index].mask.byte().numpy()).save(masks / f"{plain.names[index]}.png")
    dataset = open_dataset(
        DataOptions(scenes=SCENES, annotated_fraction=0.0, propagated=str(masks)), "train", training=True
    )
    seen = look(network, dataset.names, evaluation_loader(dataset, 5, 0))
    assert seen.images.tolist() == sorted(seen.images.tolist()) and network.training == made_network().training
    row = 0
    for index in range(12):
        batch = collate([dataset[index]])
        output = network.eval()(network.preprocessing(batch.images))
        for place, index_of_class in enumerate(batch.pairs[:, 1].tolist()):
            assert (seen.images[row], seen.classes[row]) == (index, index_of_class)
            torch.testing.assert_close(seen.sure[row], torch.sigmoid(output.class_scores[0, index_of_class]).detach())
            grid = attention_maps(output, [index_of_class])[0, 0].detach()
            features = output.features[0].detach()
            torch.testing.assert_close(seen.pooled[row], features.flatten(1).mean(dim=1))
            if grid.sum() > 0:
                torch.testing.assert_close(seen.attended[row], (features * grid).sum(dim=(1, 2)) / grid.sum())
                full = attention_maps(output, [index_of_class], size=(48, 48))[0, 0].detach()
                at = (seen.places[row] * 48).round().long()
                assert float(full[at[0], at[1]]) == pytest.approx(float(full.max()), rel=1e-5)
                if index < 4:
                    inside = full[batch.targets[place] == 1].sum() / full[batch.targets[place] != 255].sum()
                    torch.testing.assert_close(seen.beside[row], 1 - inside)
            assert seen.beside[row].isfinite() == shows_object(batch.targets)[place] == (index < 4)
            row += 1
    assert row == len(seen.images)


def test_images_are_named_with_reasons_and_annotated_ones_left_out():
    dataset = open_dataset(DataOptions(scenes=SCENES, annotated_fraction=0.5), "train", training=True)
    known = {index for index in range(12) if dataset.is_annotated(index)}
    network = made_network().float()
    for rule, words in (("confident_elsewhere", "% sure of"), ("diverse", "images of"), ("random", "at random")):
        found = suggest(network, dataset, 4, rule)
        assert len({one.number for one in found}) == 4 and not {one.number for one in found} & known
        assert all(one.name == dataset.names[one.number] and words in one.reason for one in found)
        assert all(dataset[one.number].labels[one.class_index] and 0 <= one.score <= 1 for one in found)
        assert found == suggest(network, dataset, 4, rule)
    assert len(suggest(network, dataset, 99)) == 12 - len(known)


def test_the_command_writes_a_list_that_guides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    scenes = ["--data.scenes.size=48", "--data.scenes.classes=3", "--data.scenes.images=12", "--data.batch_size=4"]
    network = ["--network=torchvision:resnet18", "--network.input_size", "64", "64", "--accelerator=cpu"]
    assert main(["suggest", *network, *scenes, "--data.annotated_fraction=0.25", "--count=5", "--out=next"]) == 0
    assert "5 images: next/suggested.txt" in capsys.readouterr().out
    names = Path("next/suggested.txt").read_text().split()
    table = list(csv.DictReader(Path("next/suggested.csv").read_text().splitlines()))
    assert [row["image"] for row in table] == names and all(row["reason"] for row in table)
    with Image.open("next/suggested.png") as sheet:
        assert min(sheet.size) > 300
    first = open_dataset(DataOptions(scenes=SCENES, annotated_fraction=0.25), "train", training=True)
    second = open_dataset(DataOptions(scenes=SCENES, annotated="next/suggested.txt"), "train", training=True)
    annotated = [{name for index, name in enumerate(one.names) if one.is_annotated(index)} for one in (first, second)]
    assert annotated[1] == set(names) and not annotated[0] & annotated[1]


def test_what_cannot_be_suggested_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    scenes = ["--data.scenes.size=48", "--data.scenes.classes=3", "--data.scenes.images=6"]
    network = ["--network=torchvision:resnet18"]
    for options, said in (
        ([*network, *scenes], "expected an image that is not annotated yet, got 6 that all are"),
        ([*scenes, "--data.annotated_fraction=0"], "expected --weights of a trained network, or --network"),
        (
            [*network, *scenes, "--data.annotated_fraction=0", "--count=0"],
            "expected at least 1 image to suggest, got 0",
        ),
    ):
        assert said in complaint(capsys, "suggest", *options, "--out=next")
        assert not Path("next").exists()
