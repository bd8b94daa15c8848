"""The data as Lightning wants them: training batches from wherever a run goes on, and each validation image once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from wheretolook.data import ImageDataset, open_dataset
from wheretolook.data.order import AugmentedImages, Key, TrainingOrder
from wheretolook.data.workers import (
    batch_bytes,
    end_workers,
    fits_shared_memory,
    is_death,
    packed,
    shared,
    unpacked,
    worker_died,
)
from wheretolook.errors import DataError, WhereToLookError
from wheretolook.options.data import DataOptions
from wheretolook.records import Batch, Sample, collate


class ImageData(LightningDataModule):
    """Training and validation images for a `Trainer` with `use_distributed_sampler=False`.

    Training is one long Lightning epoch of `steps * accumulate` batches. Which images a batch holds, and how they are
    augmented, depends on the seed and the batch's number only: a run that resumes sees what it would have seen, and
    more processes see together what one with a larger batch sees.

    Args:
        config: where images come from and how they are served.
        steps: optimiser steps of the whole training.
        accumulate: batches a step.
        seed: of order and augmentation.

    Attributes:
        class_names: the foreground classes.
        train_set: the training images, not augmented.
        val_set: the validation images.

    Raises:
        ConfigError: options out of their range.
        DataError: data that are missing or wrong.
    """

    def __init__(self, config: DataOptions, *, steps: int, accumulate: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.batches = steps * accumulate
        self.seed = seed
        self.train_set = open_dataset(config, config.split, training=True)
        self.val_set = open_dataset(config, config.val_split)
        self.class_names = self.train_set.class_names
        if self.val_set.class_names != self.class_names:
            raise DataError(f"splits '{config.split}' and '{config.val_split}' have different classes")

    def train_dataloader(self) -> "ImageLoader":
        """Augmented batches, from the first one or from where a resumed run goes on."""
        rank, world = self._process()
        order = TrainingOrder(
            len(self.train_set), self.batches, self.config.batch_size, self.seed, rank, world, self._first_batch()
        )
        images = AugmentedImages(self.train_set, self.config, self.seed)
        largest = batch_bytes(self.config.crop or self.train_set.size(0), self.config.batch_size, len(self.class_names))
        return ImageLoader(images, order, self.config.workers, collate_training, largest)

    def val_dataloader(self) -> "ImageLoader":
        """This process's share of the validation images, unchanged."""
        rank, world = self._process()
        return evaluation_loader(self.val_set, self.config.batch_size, self.config.workers, rank, world)

    def _process(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _first_batch(self) -> int:
        """Where training goes on: after the last batch that the checkpoint's weights have seen.

        That is what Lightning calls processed. Its ready counts a batch that an interruption cut off as well, and its
        completed leaves out one whose end was under way when the checkpoint was written.
        """
        if self.trainer is None or not self.trainer.fit_loop.restarting:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)  # type: ignore[attr-defined]


class ImageLoader(DataLoader[Sample]):
    """A loader that leaves global random state alone, and whose workers end in one line, whatever becomes of them.

    Args:
        dataset: the images.
        batches: the keys of each batch.
        workers: processes that load images; 0 loads in this one.
        collate_fn: stacks samples.
        largest: bytes of the largest batch, about.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        batches: "Sampler[list[Key]] | Sequence[list[int]]",
        workers: int,
        collate_fn: Callable[[Sequence[Sample]], Batch],
        largest: int,
    ) -> None:
        self.piped = workers > 0 and not fits_shared_memory(largest, workers)
        carry = packed if self.piped else shared
        # Without a generator of its own a loader draws from the global one each time it starts.
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(carry, collate_fn) if workers else collate_fn,
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        try:
            yield from self._in_own_words(batches)
        except RuntimeError as error:  # torch's signal of a worker's death; it may come while another error is handled
            if not is_death(error):
                raise
            end_workers(batches)
            raise worker_died(error) from error

    def _in_own_words(self, batches: Iterator[Any]) -> Iterator[Batch]:
        try:
            for batch in batches:
                yield unpacked(batch) if self.piped else batch
        except WhereToLookError as error:
            raise type(error)(_own_words(error)) from error
        except (ConnectionError, EOFError) as error:  # a worker died while it handed its batch over
            if not self.num_workers:
                raise
            end_workers(batches)
            raise worker_died(error) from error

    def state_dict(self) -> dict[str, int]:
        """Nothing to keep, the position follows from the step; that it exists tells Lightning that resuming works."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing to load."""


def _own_words(error: WhereToLookError) -> str:
    """The error's line without the worker's traceback that torch puts before it."""
    return str(error).rstrip().rpartition(f"{type(error).__name__}: ")[2]


def collate_training(samples: Sequence[Sample]) -> Batch:
    """Stack samples, or say what to do where their sizes differ.

    Args:
        samples: at least one.

    Raises:
        DataError: the sizes differ.
    """
    first = samples[0]
    for sample in samples:
        if sample.mask.shape != first.mask.shape:
            sizes = " and ".join(f"{s.name} is {s.mask.shape[1]}x{s.mask.shape[0]}" for s in (first, sample))
            raise DataError(f"the images of a training batch need one size, but {sizes}; set crop, or batch_size 1")
    return collate(samples)


def evaluation_loader(
    dataset: ImageDataset, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> ImageLoader:
    """Every image exactly once over all processes, unchanged, in batches of one size.

    Args:
        dataset: the images.
        batch_size: most images a batch.
        workers: processes that load images; 0 loads in this one.
        rank: which process this is.
        world: how many processes share the images.

    Raises:
        DataError: an image whose header cannot be read, or fewer images than processes: one that has nothing to do
            would leave the others waiting.
    """
    if len(dataset) < world:
        raise DataError(
            f"expected an image to validate on for each of {world} processes, got {len(dataset)}; use fewer devices"
        )
    groups: dict[tuple[int, int], list[int]] = {}
    for index in range(len(dataset)):
        groups.setdefault(dataset.size(index), []).append(index)
    batches = [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
    if len(batches) < world:
        batches = [[index] for group in groups.values() for index in group]
    classes = len(dataset.class_names)
    largest = max(batch_bytes(size, min(batch_size, len(group)), classes) for size, group in groups.items())
    return ImageLoader(dataset, batches[rank::world], workers, collate, largest)
