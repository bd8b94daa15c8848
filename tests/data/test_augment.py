from dataclasses import replace

import numpy as np
import pytest
import torch

from wheretolook.data import open_dataset
from wheretolook.data.augment import Window, augment, cut, draw_window, frame, jitter_colours
from wheretolook.data.loading import ImageData
from wheretolook.data.masks import mask_labels
from wheretolook.data.order import AugmentedImages
from wheretolook.data.targets import mask_planes
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import TORCHVISION, VOID, Sample

CONFIG = DataOptions(crop=(24, 20), scale=(0.5, 2.0))


def coded_sample(height=30, width=40, classes=5):
    """An image whose colour is its mask value, in patches of several pixels, so that each shows the other."""
    mask = torch.randint(0, classes + 1, (height // 5, width // 5)).repeat_interleave(5, 0).repeat_interleave(5, 1)
    mask[:3, :3] = VOID
    image = (mask / VOID).expand(3, -1, -1) * torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1)
    labels = mask_labels(mask, classes)
    return Sample(image.contiguous(), mask, labels, mask_planes(mask, labels), True, "coded")


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


def test_key_alone_decides():
    sample = coded_sample()
    first = augment(sample, CONFIG, 1, 2, 3)
    for key in ((1, 2, 4), (1, 3, 3), (2, 2, 3), (3, 2, 1)):
        assert not same(first, augment(sample, CONFIG, *key))
    torch.manual_seed(5)
    np.random.seed(5)
    assert same(first, augment(sample, CONFIG, 1, 2, 3))


def test_global_random_state_is_left_alone():
    sample = coded_sample()
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    augment(sample, CONFIG, 0, 0, 0)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.9), (1.2, 3.0)])
def test_image_and_mask_move_together(scale):
    """Where the colours are not blends of two patches they must say what the mask says."""
    config = replace(CONFIG, scale=scale, colour=0.0)
    seen = 0
    for index in range(40):
        out = augment(coded_sample(), config, 0, 0, index)
        inside = out.mask != VOID
        code = out.image[0] * VOID
        pure = inside & ((code - code.round()).abs() < 1e-3) & (code.round() == (out.image[1] * 2 * VOID).round())
        flat = torch.nn.functional.max_pool2d(code[None], 3, 1, 1)[0] - code < 1e-3  # and no blend that looks pure
        pure &= flat & (torch.nn.functional.max_pool2d(-code[None], 3, 1, 1)[0] + code < 1e-3)
        assert torch.equal(code[pure].round().long(), out.mask[pure])
        assert set(out.mask.unique().tolist()) <= {0, 1, 2, 3, 4, 5, VOID}
        seen += int(pure.sum())
    assert seen > 2000


def test_outside_of_the_image_is_void_and_of_the_mean_colour():
    """The padding of kornia would say background here."""
    sample = coded_sample(10, 15)._replace(mask=torch.zeros(10, 15, dtype=torch.long))
    for index in range(20):
        out = augment(sample, replace(CONFIG, scale=(1.0, 1.0)), 0, 0, index)
        assert (out.mask == 0).sum() == 150 and (out.mask == VOID).sum() == 24 * 20 - 150
        mean = torch.tensor(TORCHVISION.mean)[:, None]
        torch.testing.assert_close(out.image[:, out.mask == VOID], mean.expand(-1, 24 * 20 - 150))


def cut_and_framed(sample, window, size):
    image, planes = frame(*cut(sample.image, sample.mask[None], window), window, size)
    return image, planes[0]


def test_window_over_the_corner_is_filled_on_the_right_sides():
    sample = coded_sample()
    image, mask = cut_and_framed(sample, Window(-2, 33, 8, 10), (8, 10))
    assert torch.equal(mask[2:, :7], sample.mask[:6, 33:]) and torch.equal(image[:, 2:, :7], sample.image[:, :6, 33:])
    assert (mask[:2] == VOID).all() and (mask[:, 7:] == VOID).all()


def test_cut_at_its_own_size_is_a_slice():
    sample = coded_sample()
    image, mask = cut_and_framed(sample, Window(4, 7, 10, 12), (10, 12))
    assert torch.equal(image, sample.image[:, 4:14, 7:19]) and torch.equal(mask, sample.mask[4:14, 7:19])


def test_cut_twice_as_large_repeats_each_mask_pixel():
    """Nearest neighbour by pixel centres: interpolation that starts at the corner would shift by half a pixel."""
    sample = coded_sample()
    _, mask = cut_and_framed(sample, Window(4, 7, 10, 12), (20, 24))
    assert torch.equal(mask, sample.mask[4:14, 7:19].repeat_interleave(2, 0).repeat_interleave(2, 1))
    _, mask = cut_and_framed(sample, Window(0, 0, 30, 39), (10, 13))
    assert torch.equal(mask, sample.mask[1:30:3, 1:39:3])


def test_windows_reach_every_place_and_leave_the_image_only_where_they_must():
    random = np.random.default_rng(0)
    windows = [draw_window((30, 8), (10, 10), (0.5, 1.0), random) for _ in range(500)]
    assert {window.height for window in windows} == set(range(10, 21))
    assert all(0 <= window.top <= 30 - window.height for window in windows)
    assert all(8 - window.width <= window.left <= 0 for window in windows)
    smallest = [window for window in windows if window.height == 10]
    assert {window.left for window in smallest} == {-2, -1, 0} and len({window.top for window in smallest}) > 10


def test_labels_follow_the_crop():
    """Classes that the crop cuts off go, whoever drew the mask; without a mask they stay."""
    sample = coded_sample()
    lost = 0
    for index in range(30):
        out = augment(sample, replace(CONFIG, crop=(6, 6)), 0, 0, index)
        assert torch.equal(out.labels, mask_labels(out.mask, 5))
        lost += int((sample.labels & ~out.labels).sum())
    assert lost > 0

    boxed = sample._replace(mask=sample.mask.clone().clamp(max=1), labels=torch.tensor([1, 0, 0, 0, 1]).bool())
    boxed.mask[:, 20:] = 0
    boxed = boxed._replace(targets=mask_planes(boxed.mask, boxed.labels))
    both = {augment(boxed._replace(segmented=False), CONFIG, 0, 0, index).labels[0].item() for index in range(30)}
    assert both == {True, False}
    for index in range(10):
        out = augment(boxed._replace(segmented=False), CONFIG, 0, 0, index)
        assert out.labels[4] and not out.labels[1:4].any()
        unknown = sample._replace(
            mask=torch.full_like(sample.mask, VOID), targets=torch.full_like(sample.targets, VOID), segmented=False
        )
        assert torch.equal(augment(unknown, CONFIG, 0, 0, index).labels, sample.labels)


def test_without_a_crop_the_image_is_itself_or_its_mirror():
    sample, config = coded_sample(), DataOptions(crop=None, colour=0.0)
    mirrored = 0
    for index in range(60):
        out = augment(sample, config, 0, 0, index)
        flipped = not torch.equal(out.mask, sample.mask)
        mirrored += flipped
        expected = (sample.image.flip(-1), sample.mask.flip(-1)) if flipped else (sample.image, sample.mask)
        assert torch.equal(out.image, expected[0]) and torch.equal(out.mask, expected[1])
    assert 18 <= mirrored <= 42
    assert same(sample, augment(sample, replace(config, flip=False), 0, 0, 0))


def test_colours_change_by_the_amounts_drawn():
    """Each step written out by hand with the same three numbers."""
    image = torch.rand(3, 6, 7) * 0.4 + 0.3
    brightness, contrast, saturation = np.random.default_rng(4).uniform(-0.2, 0.2, 3)
    grey_weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    expected = image + brightness / 2
    mean = (expected * grey_weights).sum(0).mean()
    expected = mean + (1 + contrast) * (expected - mean)
    grey = (expected * grey_weights).sum(0)
    expected = grey + (1 + saturation) * (expected - grey)
    out = jitter_colours(image, 0.2, np.random.default_rng(4))
    torch.testing.assert_close(out, expected.float().clamp(0, 1), atol=1e-5, rtol=0)
    out = jitter_colours(torch.rand(3, 6, 7), 1.0, np.random.default_rng(4))
    assert out.min() >= 0 and out.max() <= 1


def overlapping(height=30, width=40):
    """An image of boxes: planes that overlap, one of a class that is only labelled, colours that show each plane."""
    planes = torch.zeros(3, height, width, dtype=torch.uint8)
    planes[0, 5:20, 5:20] = 1
    planes[1] = VOID
    planes[2, 10:25, 10:35] = 1
    image = torch.stack([planes[0].float(), planes[2].float(), torch.zeros(height, width)])
    labels = torch.tensor([True, False, True, True])
    return Sample(image, torch.full((height, width), VOID), labels, planes, False, "boxed", "group", True)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 2.0)])
def test_every_plane_moves_with_the_image(scale):
    """Red is the first plane and green the third, so each pixel says what its planes must be; outside says nothing."""
    config, seen = DataOptions(crop=(24, 20), scale=scale, colour=0.0), 0
    for index in range(40):
        out = augment(overlapping(), config, 0, 0, index)
        assert (out.group, out.exclusive, out.name, out.segmented) == ("group", True, "boxed", False)
        assert len(out.targets) == out.labels.sum() and out.targets.shape[1:] == (24, 20)
        colours = {0: out.image[0], 3: out.image[1]}
        for place, class_index in enumerate(out.labels.nonzero().flatten().tolist()):
            plane = out.targets[place]
            if class_index == 2:  # only labelled
                assert (plane == VOID).all()
                continue
            inside = out.image[2] == 0  # the mean colour has some blue
            pure = inside & ((colours[class_index] == 0) | (colours[class_index] == 1))
            if scale == (1.0, 1.0):
                assert pure.sum() == inside.sum() and (plane[~inside] == VOID).all()
                assert torch.equal(plane[pure], colours[class_index][pure].to(torch.uint8))
            seen += int((plane == 1).sum())
    assert seen > 1000


def test_a_class_leaves_with_its_last_pixel_and_a_label_without_annotation_stays():
    lost = 0
    for index in range(60):
        several = overlapping()._replace(exclusive=False)
        out = augment(several, DataOptions(crop=(6, 6), scale=(1.0, 1.0)), 0, 0, index)
        assert out.labels[2]
        for place, class_index in enumerate(out.labels.nonzero().flatten().tolist()):
            assert class_index == 2 or (out.targets[place] == 1).any()
        lost += 3 - int(out.labels.sum())
    assert lost > 20


def test_the_planes_of_a_mask_are_still_its_own():
    for index in range(20):
        out = augment(coded_sample(), CONFIG, 0, 0, index)
        assert torch.equal(out.targets, mask_planes(out.mask, out.labels))


def test_the_sample_that_is_augmented_is_left_alone():
    sample = overlapping()
    before = [value.clone() for value in sample if isinstance(value, torch.Tensor)]
    augment(sample, DataOptions(crop=(6, 6)), 0, 0, 1)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (v for v in sample if isinstance(v, torch.Tensor)), strict=True)
    )


def test_each_epoch_and_each_seed_augments_an_image_anew():
    """What training shows, not what `augment` could: the epoch and the seed must be handed on."""
    scenes = DataOptions(crop=(24, 20), scenes=ScenesOptions(size=32, images=3))
    data = open_dataset(scenes, "train")
    for seed in (0, 1):
        images = AugmentedImages(data, scenes, seed)
        for key in ((0, 0), (1, 0), (4, 2)):
            epoch, index = key
            assert same(images[key], augment(data[index], scenes, seed, epoch, index))
    first = AugmentedImages(data, scenes, 0)
    shown = [first[epoch, index].image for epoch in range(3) for index in range(3)]
    shown += [AugmentedImages(data, scenes, 1)[0, index].image for index in range(3)]
    assert not any(torch.equal(a, b) for n, a in enumerate(shown) for b in shown[:n])


def test_a_run_of_several_epochs_repeats_no_picture():
    config = DataOptions(crop=(24, 20), batch_size=2, scenes=ScenesOptions(size=32, images=4))
    batches = list(ImageData(config, steps=6, seed=3).train_dataloader())
    names = [name for batch in batches for name in batch.names]
    images = [image for batch in batches for image in batch.images]
    assert sorted(names) == sorted(3 * list(open_dataset(config, "train").names))
    assert not any(torch.equal(a, b) for n, a in enumerate(images) for b in images[:n])
    again = list(ImageData(config, steps=6, seed=3).train_dataloader())
    other = list(ImageData(config, steps=6, seed=4).train_dataloader())
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, again, strict=True))
    assert not any(torch.equal(a.images, b.images) for a, b in zip(batches, other, strict=True))


def test_an_image_of_exactly_one_class_keeps_it_though_the_crop_cuts_the_object_off():
    mask = torch.zeros(30, 40, dtype=torch.long)
    mask[:3, :3] = 3
    labels = mask_labels(mask, 5)
    sample = Sample(torch.rand(3, 30, 40), mask, labels, mask_planes(mask, labels), True, "small", exclusive=True)
    lost = 0
    for index in range(20):
        out = augment(sample, replace(CONFIG, crop=(6, 6)), 0, 0, index)
        assert torch.equal(out.labels, labels) and out.targets.shape == (1, 6, 6)
        lost += not (out.targets == 1).any()
        several = augment(sample._replace(exclusive=False), replace(CONFIG, crop=(6, 6)), 0, 0, index)
        assert several.labels.any() == (several.targets == 1).any()
    assert lost > 10
