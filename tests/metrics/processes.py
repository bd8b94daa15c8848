"""One process of three with unequal shares of six images (five, none, one); writes what all computed together."""

import sys

import torch
from torch import distributed
from torch.nn.functional import one_hot

from wheretolook.evaluation.evaluate import Evaluator
from wheretolook.metrics import AttentionMetric, ClassificationMetric, PairMeans, SegmentationMetric, energy_inside
from wheretolook.records import Batch, GuidedOutput

SHARES = (slice(0, 5), slice(5, 5), slice(5, 6))


def figures(share: slice) -> str:
    """Figures of a share of the images, or of all shares where processes are joined."""
    draw = torch.Generator().manual_seed(3)
    masks = torch.randint(0, 3, (2, 6, 5, 4), generator=draw)
    maps = torch.randint(0, 8, (6, 5, 4), generator=draw).float()
    scores, labels = torch.randn(6, 2, generator=draw), torch.rand(6, 2, generator=draw) < 0.6
    single = one_hot(torch.tensor([0, 1, 1, 0, 1, 0]), 2).bool()
    groups = ("sea", "h\u00e9ron", "sea", "", "sea", "land")
    metrics = (SegmentationMetric(2), AttentionMetric(), ClassificationMetric(2), ClassificationMetric(2))
    segmentation, attention, classification, exclusive = metrics
    means = PairMeans({"energy": energy_inside})
    evaluator = Evaluator(2)
    for image in range(6)[share]:
        one = slice(image, image + 1)
        segmentation.update(masks[0, one], masks[1, one])
        attention.update(maps[one], masks[1, one] == 1, masks[0, one] != 2)
        means.update(maps[one], masks[1, one] == 1, masks[0, one] != 2)
        classification.update(scores[one], labels[one])
        exclusive.update(scores[one], single[one], groups[one], exclusive=True)
        evaluator.update(*forward(maps[one], scores[one], single[one], masks[1, one]))
    found = [*(value for metric in metrics for value in metric.compute()), means.compute()]
    flat = [number for value in [*found, *evaluator.compute().values()] for number in numbers(value)]
    return " ".join(f"{number:.5f}" for number in flat)


def forward(
    maps: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor
) -> tuple[GuidedOutput, Batch]:
    """One image with an exact mask whose maps are features themselves."""
    features = maps[:, None].requires_grad_()
    planes = (masks == 1 + int(labels[0].long().argmax())).to(torch.uint8)
    output = GuidedOutput(scores + features.sum(dim=(1, 2, 3))[:, None] * 0.01, features)
    exact = torch.ones(1, dtype=torch.bool)
    return output, Batch(masks[:, None].float(), masks, labels, labels.nonzero(), planes, exact, ("",), ("",), True)


def numbers(value: object) -> list[float]:
    """What a figure holds: a number, a list of them, or numbers by name."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]


if __name__ == "__main__":
    rank, file = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=len(SHARES))
    sys.stdout.write(figures(SHARES[rank]))
    distributed.destroy_process_group()
