"""Batches from other processes: on machines with little shared memory, and from processes that do not live."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from wheretolook.data import open_dataset, workers
from wheretolook.data.loading import ImageData, ImageLoader, evaluation_loader
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import collate

from .folders_on_disk import opened, write_image, write_lines

CONFIG = DataOptions(batch_size=3, crop=(12, 12), scenes=ScenesOptions(size=16, images=10))


def same(one, other):
    for a, b in zip(one, other, strict=True):
        if isinstance(a, torch.Tensor):
            torch.testing.assert_close(a, b, rtol=0, atol=0)  # and of one type, which torch.equal does not mind
        elif a != b:
            return False
    return True


@pytest.mark.parametrize("free", [10**12, 10_000, None])
@pytest.mark.parametrize("count", [1, 2])
def test_batches_are_the_same_however_they_come(monkeypatch, caplog, free, count):
    alone = list(ImageData(CONFIG, steps=5).train_dataloader())
    monkeypatch.setattr(workers, "free_shared_memory", lambda: free)
    monkeypatch.setattr(workers, "_said", set(), raising=False)
    loader = ImageData(replace(CONFIG, workers=count), steps=5).train_dataloader()
    assert loader.piped == (free == 10_000)
    helped = list(loader)
    assert len(helped) == 5 and all(same(one, other) for one, other in zip(alone, helped, strict=True))
    shown = list(evaluation_loader(open_dataset(CONFIG, "val"), 4, count))
    expected = list(evaluation_loader(open_dataset(CONFIG, "val"), 4, 0))
    assert all(same(one, other) for one, other in zip(shown, expected, strict=True))


def test_small_shared_memory_is_said(monkeypatch, caplog):
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 64 * 2**20)
    size = workers.batch_bytes((512, 512), 8, 20)
    assert size == 512 * 512 * 8 * (3 * 4 + 8 + 8)  # image, mask and eight planes
    assert not workers.fits_shared_memory(size, 2)
    assert "/dev/shm has 64 MB free, and batches of 2 workers may need 280 MB: they come through pipes" in caplog.text
    assert workers.fits_shared_memory(size // 20, 2)


def test_half_of_the_shared_memory_is_left_to_others(monkeypatch):
    """Two workers with two batches each, and the one that is being looked at."""
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 1000)
    assert workers.fits_shared_memory(100, 2) and not workers.fits_shared_memory(101, 2)
    assert workers.fits_shared_memory(55, 4) and not workers.fits_shared_memory(56, 4)


@pytest.mark.parametrize(("crop", "piped"), [((12, 12), False), ((24, 24), True), (None, True)])
def test_what_training_needs_is_that_of_its_crops(monkeypatch, crop, piped):
    scenes = ScenesOptions(size=32, images=4)
    config = DataOptions(batch_size=2, crop=crop, workers=1, scenes=scenes)
    room = 2 * 3 * workers.batch_bytes((20, 20), 2, scenes.classes)
    monkeypatch.setattr(workers, "free_shared_memory", lambda: room)
    assert ImageData(config, steps=1).train_dataloader().piped == piped


def test_what_evaluation_needs_is_that_of_its_largest_batch(monkeypatch, tmp_path):
    """Two large images and three small ones, in batches of up to three: the two are the most."""
    for index, side in enumerate((20, 20, 14, 14, 14)):
        write_image(tmp_path / f"images/{index}.png", side, side)
    write_lines(tmp_path / "labels.csv", "image,classes", *(f"{index},cat" for index in range(5)))
    write_lines(tmp_path / "splits/all.txt", *map(str, range(5)))
    data = opened(tmp_path, "all")
    needed = 2 * 3 * workers.batch_bytes((20, 20), 2, 1)
    for room, piped in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(workers, "free_shared_memory", lambda room=room: room)
        assert evaluation_loader(data, 3, 1).piped == piped


def test_free_shared_memory_is_what_the_system_says():
    if not os.path.ismount(workers.SHARED_MEMORY):
        pytest.skip("this machine has none")
    expected = os.statvfs(workers.SHARED_MEMORY)
    assert 0 < workers.free_shared_memory() <= expected.f_blocks * expected.f_frsize


def test_a_machine_without_shared_memory_of_its_own_has_no_limit(monkeypatch):
    monkeypatch.setattr(workers, "SHARED_MEMORY", "/nowhere/at/all")
    assert workers.free_shared_memory() is None and workers.fits_shared_memory(10**15, 8)


class Deadly(torch.utils.data.Dataset):
    """Made scenes, but for one that ends the process that loads it."""

    def __init__(self, number):
        self.scenes, self.number = open_dataset(CONFIG, "val"), number

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, index):
        if index == 4:
            os.kill(os.getpid(), self.number)
        return self.scenes[index]


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGKILL])
def test_a_worker_that_dies_is_one_line_and_an_end(number):
    """What a full /dev/shm, or the system where memory runs out, does to it."""
    loader = ImageLoader(Deadly(number), [[index] for index in range(8)], 2, collate, 1)
    with pytest.raises(DataError, match=r"^a process that loads images has ended \(.*\): out of mem") as it:
        list(loader)
    assert "\n" not in str(it.value)


class Full(torch.Tensor):
    """A tensor that finds no room in shared memory."""

    def share_memory_(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)")


def overfull(samples):
    batch = collate(samples)
    return batch._replace(images=batch.images.as_subclass(Full))


def test_a_full_shared_memory_is_one_line_and_an_end():
    loader = ImageLoader(open_dataset(CONFIG, "val"), [[0], [1], [2]], 1, overfull, 1)
    with pytest.raises(DataError, match=r"^the shared memory of this machine \(/dev/shm\) is full; give it more") as it:
        list(loader)
    assert "\n" not in str(it.value)


def test_other_mistakes_keep_their_tracebacks():
    """A bug of ours must not be taken for a machine that is too small."""

    class Wrong(Deadly):
        def __getitem__(self, index):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(ImageLoader(Wrong(0), [[0]], 1, collate, 1))
