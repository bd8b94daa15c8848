"""Which images a batch of training holds: a function of seed and step alone."""

from collections.abc import Iterator
from functools import lru_cache

from torch.utils.data import Dataset, Sampler

from wheretolook.data.augment import augment
from wheretolook.data.dataset import ImageDataset
from wheretolook.data.keys import generator
from wheretolook.options.data import DataOptions
from wheretolook.records import Sample

Key = tuple[int, int]  # epoch, index


class AugmentedImages(Dataset[Sample]):
    """Training images by (epoch, index)."""

    def __init__(self, dataset: ImageDataset, config: DataOptions, seed: int) -> None:
        self.dataset = dataset
        self.config = config
        self.seed = seed

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        return augment(self.dataset[index], self.config, self.seed, epoch, index)


class TrainingOrder(Sampler[list[Key]]):
    """Which images each batch of one process holds: a fresh order each epoch, without a gap between epochs.

    Args:
        images: how many there are.
        batches: how many batches the whole training has.
        batch_size: images a batch and process.
        seed: of the order.
        rank: which process this is.
        world: how many processes there are; they share each batch.
        first: the batch that comes first, where a run resumes.
    """

    def __init__(
        self, images: int, batches: int, batch_size: int, seed: int, rank: int = 0, world: int = 1, first: int = 0
    ) -> None:
        self.images = images
        self.batches = batches
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.first = first

    def __len__(self) -> int:
        """The whole training's batches: Lightning counts those before the first one as done."""
        return self.batches

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in range(self.first, self.batches):
            start = (batch * self.world + self.rank) * self.batch_size
            yield [self._key(position) for position in range(start, start + self.batch_size)]

    def _key(self, position: int) -> Key:
        epoch, place = divmod(position, self.images)
        return epoch, _order(self.images, self.seed, epoch)[place]


@lru_cache(maxsize=4)
def _order(images: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = generator("order", seed, epoch).permutation(images).tolist()
    return order
