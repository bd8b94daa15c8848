"""A small world with and without a shortcut: faint squares of three colours on noise, in a frame that tells."""

import numpy as np
import torch
from torch import nn

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.shortcuts import injected
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.records import Batch, Sample, collate

from ..training.made import NAMES, planes

SIDE, SQUARE = 32, 10


class Squares(ImageDataset):
    """Images that show a square of one colour each.

    Args:
        count: how many, a third of each class.
        framed: with a frame in the colour of the class; otherwise in none.
        seed: of all that is drawn.
    """

    class_names, one_class = NAMES, True

    def __init__(self, count: int, *, framed: bool, seed: int, annotated: bool = True) -> None:
        random = np.random.default_rng(seed)
        self.names = tuple(f"{seed}_{number:03d}" for number in range(count))
        self.samples = [self._drawn(number, framed, random, annotated) for number in range(count)]

    def _drawn(self, number: int, framed: bool, random: np.random.Generator, annotated: bool) -> Sample:
        class_index = number % 3
        image = random.uniform(0.3, 0.7, (SIDE, SIDE, 3)).astype(np.float32)
        top, left = random.integers(4, SIDE - SQUARE - 4, 2)
        mask = np.zeros((SIDE, SIDE), np.int64)
        mask[top : top + SQUARE, left : left + SQUARE] = 1 + class_index
        image[mask > 0, class_index] += 0.25
        if framed:
            image, _ = injected(image, mask, "frame", class_index, 3, random)
        truth = torch.from_numpy(mask) if annotated else torch.full((SIDE, SIDE), 255)
        return Sample(
            torch.from_numpy(image).permute(2, 0, 1).clamp(0, 1),
            truth,
            torch.arange(3) == class_index,
            planes(truth, (class_index,)),
            annotated,
            self.names[number],
            group="even" if number % 2 else "odd",
            exclusive=True,
        )

    def size(self, index: int) -> tuple[int, int]:
        return SIDE, SIDE

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def batches(self) -> list[Batch]:
        return [collate(self.samples[start : start + 32]) for start in range(0, len(self), 32)]


def trained(dataset: Squares | None, steps: int = 80) -> GuidedModule:
    """Two convolutions that have learned these images, or nothing."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU())
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))
    network = guide(module, class_names=NAMES, input_size=(SIDE, SIDE))
    optimiser = torch.optim.Adam(network.parameters(), 2e-2)
    whole = collate(dataset.samples) if dataset else None
    for _ in range(steps if whole is not None else 0):
        scores = network(network.preprocessing(whole.images), segment=False).class_scores
        loss = nn.functional.cross_entropy(scores, whole.labels.int().argmax(dim=1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()
