import pickle
from collections import Counter
from dataclasses import replace

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from wheretolook.data import open_dataset
from wheretolook.data.loading import ImageData, ImageLoader, evaluation_loader
from wheretolook.data.order import AugmentedImages, TrainingOrder
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import collate

from .folders_on_disk import corner_mask, write_image, write_lines, write_mask, write_voc

CONFIG = DataOptions(batch_size=3, crop=(12, 12), scenes=ScenesOptions(size=16, images=10))


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True)) and one.names == other.names


def keys(order):
    return [key for batch in order for key in batch]


def test_every_epoch_holds_every_image_once_and_in_an_order_of_its_own():
    """Batches of 4 run across the border of epochs of 10 images; nothing is dropped or repeated."""
    order = keys(TrainingOrder(images=10, batches=5, batch_size=4, seed=0))
    assert sorted(order) == [(epoch, index) for epoch in (0, 1) for index in range(10)]
    assert [epoch for epoch, _ in order] == [0] * 10 + [1] * 10
    assert [index for _, index in order[:10]] != [index for _, index in order[10:]]
    assert order != keys(TrainingOrder(images=10, batches=5, batch_size=4, seed=1))


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_what_one_process_would_see(world):
    whole = list(TrainingOrder(images=10, batches=6, batch_size=8, seed=3))
    parts = [list(TrainingOrder(10, 6, 8 // world, 3, rank, world)) for rank in range(world)]
    joined = [[key for part in parts for key in part[batch]] for batch in range(6)]
    assert joined == whole


def test_order_continues_where_it_was_left_and_keeps_its_length():
    whole, rest = TrainingOrder(7, 9, 2, 0), TrainingOrder(7, 9, 2, 0, first=4)
    assert list(rest) == list(whole)[4:]
    assert len(rest) == len(whole) == 9


def test_workers_and_global_random_state_change_nothing():
    torch.manual_seed(1)
    alone = list(ImageData(CONFIG, steps=5).train_dataloader())
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    helped = list(ImageData(replace(CONFIG, workers=2), steps=5).train_dataloader())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(alone) == len(helped) == 5
    assert all(equal(one, other) for one, other in zip(alone, helped, strict=True))


def test_batches_are_the_samples_stacked():
    data = ImageData(CONFIG, steps=4, seed=9)
    order = TrainingOrder(10, 4, 3, 9)
    images = pickle.loads(pickle.dumps(AugmentedImages(data.train_set, CONFIG, 9)))  # as for spawned workers
    for batch, wanted in zip(data.train_dataloader(), order, strict=True):
        assert equal(batch, collate([images[key] for key in wanted]))


class Recorder(LightningModule):
    """Learns one number and writes down what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shown = []

    def training_step(self, batch, batch_idx):
        self.shown.append(batch)
        return (self.weight - batch.images.mean()).square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class BrokenOffError(Exception):
    pass


class Interrupted(Recorder):
    """Breaks off in the middle of a batch, like a machine that goes down."""

    def training_step(self, batch, batch_idx):
        if len(self.shown) == 4:
            raise BrokenOffError
        return super().training_step(batch, batch_idx)


def train(folder, module, *, planned=7, stop=7, accumulate=1, workers=0, resume=None, **checkpoints):
    data = ImageData(replace(CONFIG, workers=workers), steps=planned, accumulate=accumulate)
    callbacks = [ModelCheckpoint(folder, save_last=True, save_top_k=-1, **checkpoints)] if checkpoints else []
    trainer = Trainer(
        accelerator="cpu", max_steps=stop, max_epochs=-1, accumulate_grad_batches=accumulate, logger=False,
        callbacks=callbacks, enable_checkpointing=bool(callbacks), enable_progress_bar=False, barebones=False,
        enable_model_summary=False, use_distributed_sampler=False, val_check_interval=accumulate,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=resume)
    return trainer


EVERY_THREE_STEPS, AT_VALIDATION = {"every_n_train_steps": 3}, {"every_n_epochs": 1}


@pytest.mark.parametrize(
    ("checkpoints", "accumulate", "workers", "planned"),
    [
        (EVERY_THREE_STEPS, 1, 0, 7),
        (EVERY_THREE_STEPS, 2, 2, 7),
        (EVERY_THREE_STEPS, 1, 0, 3),  # a finished run that is prolonged
        (AT_VALIDATION, 1, 0, 7),
        (AT_VALIDATION, 2, 0, 3),
    ],
)
@pytest.mark.filterwarnings("error:.*resuming from a checkpoint", "ignore:.*callbacks used to create")
def test_resumed_run_sees_what_it_would_have_seen(tmp_path, checkpoints, accumulate, workers, planned):
    """Stopped at step 3 of 7 and resumed: together the very batches of the run that went through."""
    whole, first, second = Recorder(), Recorder(), Recorder()
    train(tmp_path, whole, accumulate=accumulate)
    train(tmp_path, first, accumulate=accumulate, workers=workers, planned=planned, stop=3, **checkpoints)
    trainer = train(tmp_path, second, accumulate=accumulate, workers=workers, resume=tmp_path / "last.ckpt")
    assert trainer.global_step == 7
    assert len(whole.shown) == 7 * accumulate and len(first.shown) == 3 * accumulate
    shown = first.shown + second.shown
    assert [batch.names for batch in shown] == [batch.names for batch in whole.shown]
    assert all(equal(one, other) for one, other in zip(shown, whole.shown, strict=True))
    assert torch.equal(second.weight, whole.weight)


@pytest.mark.filterwarnings("ignore:.*callbacks used to create")
def test_batch_that_an_interruption_cut_off_comes_again(tmp_path):
    """Lightning saves a checkpoint on its way out of an exception, with a batch that was begun and not learned."""
    whole, first, second = Recorder(), Interrupted(), Recorder()
    train(tmp_path, whole)
    with pytest.raises(BrokenOffError):
        train(tmp_path, first, every_n_train_steps=100, save_on_exception=True)
    saved = next(tmp_path.glob("*.ckpt"))
    train(tmp_path, second, resume=saved)
    shown = first.shown + second.shown
    assert [batch.names for batch in shown] == [batch.names for batch in whole.shown]
    assert torch.equal(second.weight, whole.weight)


def mixed_sizes(root):
    """VOC layout with images of three sizes, in no order."""
    names = [f"n{index}" for index in range(11)]
    write_voc(root, tuple(names))
    for index, name in enumerate(names):
        height, width = [(12, 16), (16, 12), (10, 10)][(index * 7) % 3]
        write_image(root / f"JPEGImages/{name}.jpg", height, width, index)
        write_mask(root / f"SegmentationClass/{name}.png", corner_mask(1, height, width))
    write_lines(root / "ImageSets/Segmentation/val.txt", *names)
    return root


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_evaluation_shows_every_image_once_over_all_processes(tmp_path, world):
    data = open_dataset(DataOptions(root=str(mixed_sizes(tmp_path))), "val")
    originals = {data[index].name: data[index] for index in range(len(data))}
    counts = Counter()
    for rank in range(world):
        for batch in evaluation_loader(data, 3, 0, rank, world):
            assert len(batch.names) <= 3
            for row, name in enumerate(batch.names):
                assert torch.equal(batch.images[row], originals[name].image)
                counts[name] += 1
    assert set(counts) == set(data.names) and set(counts.values()) == {1}


def test_every_process_has_an_image_to_validate_on_or_none_trains(tmp_path):
    """A process without a batch would skip the sums over processes that the others wait for."""
    data = open_dataset(DataOptions(root=str(write_voc(tmp_path, tuple("abcde")))), "train")  # 4 images of one size
    shares = [[batch.names for batch in evaluation_loader(data, 8, 0, rank, 3)] for rank in range(3)]
    assert shares == [[("a",), ("d",)], [("b",)], [("c",)]]
    with pytest.raises(DataError, match="an image to validate on for each of 5 processes, got 4; use fewer devices"):
        evaluation_loader(data, 8, 0, 0, 5)


def test_evaluation_fills_its_batches_and_repeats_itself(tmp_path):
    data = open_dataset(DataOptions(root=str(mixed_sizes(tmp_path))), "val")
    first = [batch.names for batch in evaluation_loader(data, 3, 0)]
    assert first == [batch.names for batch in evaluation_loader(data, 3, 0)]
    assert sorted(map(len, first)) == [1, 1, 3, 3, 3]  # of 4, 4 and 3 images a size


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_file_is_one_line_from_workers_too(tmp_path, workers):
    write_voc(tmp_path)
    path = tmp_path / "JPEGImages/c.jpg"
    path.write_bytes(path.read_bytes()[:-150])
    data = open_dataset(DataOptions(root=str(tmp_path)), "val")
    with pytest.raises(DataError) as caught:
        list(evaluation_loader(data, 2, workers))
    assert str(caught.value).startswith(f"cannot read image {path}: image file is truncated")
    assert "\n" not in str(caught.value)


def test_training_images_of_several_sizes_need_a_crop(tmp_path):
    config = DataOptions(root=str(mixed_sizes(tmp_path)), batch_size=4)
    write_lines(tmp_path / "ImageSets/Segmentation/val.txt", "n10")
    with pytest.raises(
        DataError, match=r"need one size, but n\d+ is 1\dx1\d and n\d+ is .*; set crop, or batch_size 1"
    ):
        list(ImageData(config, steps=3).train_dataloader())
    for crop, size in (((12, 8), 4), (None, 1)):
        loader = ImageData(replace(config, crop=crop, batch_size=size), steps=3).train_dataloader()
        assert [len(batch.names) for batch in loader] == [size] * 3


def test_loader_draws_nothing_from_the_global_generator():
    """A loader of torch's own does, and so would change dropout after each validation."""
    data = open_dataset(CONFIG, "val")
    for loader, untouched in (
        (evaluation_loader(data, 2, 0), True),
        (torch.utils.data.DataLoader(data, 2, collate_fn=collate), False),
    ):
        state = torch.random.get_rng_state()
        next(iter(loader))
        assert torch.equal(torch.random.get_rng_state(), state) == untouched
    assert isinstance(evaluation_loader(data, 2, 0), ImageLoader)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"workers": -1}, {"crop": (0, 3)}, {"scale": (2.0, 1.0)}, {"colour": 1.5}, {"resize": 0}],
)
def test_options_out_of_range(wrong):
    with pytest.raises(ConfigError):
        ImageData(replace(CONFIG, **wrong), steps=1)
    with pytest.raises(ConfigError):
        open_dataset(replace(CONFIG, **wrong), "val")
