import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from wheretolook.data import scenes
from wheretolook.data.keys import generator
from wheretolook.data.scenes import Scenes, home_background, scene_background
from wheretolook.data.textures import CLASSES, signed_distance
from wheretolook.errors import ConfigError
from wheretolook.options.data import ScenesOptions
from wheretolook.records import VOID


def same(one, other):
    return torch.equal(one.image, other.image) and torch.equal(one.mask, other.mask)


def test_scene_is_a_function_of_seed_split_and_index():
    config = ScenesOptions(images=5)
    first = Scenes(config, "train")
    again = pickle.loads(pickle.dumps(Scenes(config, "train")))
    np.random.seed(3)
    assert all(same(first[index], again[index]) for index in (3, 0, 3))
    assert not same(first[3], first[4])
    assert not same(first[3], Scenes(config, "val")[3])
    assert not same(first[3], Scenes(replace(config, seed=1), "train")[3])


def homes_met(config, split):
    """How many scenes lie at home of one of their objects."""
    data = Scenes(config, split)
    homes = {name: home_background(index) for index, name in enumerate(data.class_names)}
    met = 0
    for index in range(config.images):
        present = [data.class_names[c] for c in data[index].labels.nonzero().flatten()]
        met += scene_background(config, split, index) in {homes[name] for name in present}
    return met


def test_full_bias_puts_every_training_scene_at_home():
    config = ScenesOptions(size=32, images=300, bias=1.0)
    assert homes_met(config, "train") == 300
    for split in ("val", "test", "any_other"):
        assert homes_met(config, split) < 200  # 1 to 3 of 6 classes: 2 / 6 of 300 expected


def test_no_bias_draws_every_kind_evenly():
    config = ScenesOptions(images=1200, classes=6, bias=1.0, val_bias=0.0)
    counts = Counter(scene_background(config, "val", index) for index in range(1200))
    assert len(counts) == 6
    # Chi-squared with 5 degrees of freedom exceeds 20.5 once in 1000.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 20.5
    assert abs(homes_met(replace(config, size=32, images=600), "val") / 600 - 1 / 3) < 0.08


def test_labels_are_what_can_be_seen():
    data = Scenes(ScenesOptions(images=100, classes=4), "val")
    counts = Counter()
    for index in range(100):
        sample = data[index]
        seen = {value - 1 for value in np.unique(sample.mask.numpy()).tolist() if value not in (0, 255)}
        assert set(sample.labels.nonzero().flatten().tolist()) == seen and 1 <= len(seen) <= 3
        assert sample.segmented and len(sample.targets) == sample.labels.sum()
        assert sample.image.min() >= 0 and sample.image.max() <= 1
        counts.update(seen)
    assert set(counts) == {0, 1, 2, 3}


def test_every_object_has_a_thin_void_border():
    """No object touches background or another object, and few pixels are void."""
    data = Scenes(ScenesOptions(images=40), "train")
    for index in range(40):
        mask = data[index].mask.numpy()
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            touching = (one != other) & (one != 255) & (other != 255)
            assert touching.mean() < 0.003  # the tips of a star are steeper than its distance says
        assert 0 < (mask == 255).mean() < 0.15


@pytest.mark.parametrize("surface", CLASSES, ids=lambda surface: surface.name)
def test_distance_grows_by_at_most_about_a_pixel_a_pixel(surface):
    """A distance that grew faster would make the void border thinner than the pixels it must separate."""
    pixels = np.arange(-40, 41, dtype=np.float32)
    distance = signed_distance(surface.shape, *np.meshgrid(pixels, pixels), 20.0)
    slope = np.hypot(np.diff(distance, axis=0)[:, 1:], np.diff(distance, axis=1)[1:])
    near = np.abs(distance[1:, 1:]) < 3
    assert 0.5 < np.median(slope[near]) <= 1.05
    inside = (distance < 0).sum() / (np.pi * 20**2)
    assert 0.2 < inside < 1.01  # no shape is hidden, none is larger than its disc


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"classes": 9}, {"bias": 1.2}, {"size": 8}, {"images": 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ConfigError):
        Scenes(ScenesOptions(**wrong), "train")


def test_objects_lie_on_each_other_as_their_masks_do(monkeypatch):
    """In flat colours: where two objects meet, picture and mask show the one that the plan has first."""

    def flat(surface, contrast, x, y, scale, random):
        level = 0.1 * (1 + CLASSES.index(surface)) if surface in CLASSES else 0.0
        return np.full((*x.shape, 3), level, np.float32)

    def painted(plan):
        return scenes._paint(plan, config.size, generator("unused", 0))

    config, met = ScenesOptions(size=48, images=60), 0
    monkeypatch.setattr(scenes, "_lit", lambda image, *rest: image)
    monkeypatch.setattr(scenes, "_cover", flat)
    for index in range(config.images):
        plan = scenes._plan(config, "val", scenes._random(config, "val", index))
        image, mask = painted(plan)
        shown = (image[..., 0] * 10).round().astype(int)
        assert (shown[mask != VOID] == mask[mask != VOID]).all()
        covered = np.zeros(mask.shape, bool)
        for placed in plan.objects:  # from the top
            own = painted(plan._replace(objects=(placed,)))[1] == placed.class_index + 1
            assert (mask[own & ~covered] == placed.class_index + 1).all()
            met += int((own & covered).sum())
            covered |= painted(plan._replace(objects=(placed,)))[1] != 0
    assert met > 500


def test_what_a_scene_shows_is_known_without_painting_it():
    for split in ("train", "val"):
        data = Scenes(ScenesOptions(images=60, size=48), split)
        for index in range(60):
            assert data.classes_in(index) == set(data[index].labels.nonzero().flatten().tolist())
    assert data.classes_of_images == tuple(data.classes_in(index) for index in range(60))
