"""One process of three with unequal shares of six images (five, none, one); writes what all computed together."""

import sys

import torch
from torch import distributed

from wheretolook.metrics import AttentionMetric, ClassificationMetric, SegmentationMetric

SHARES = (slice(0, 5), slice(5, 5), slice(5, 6))


def figures(share: slice) -> str:
    """Figures of a share of the images, or of all shares where processes are joined."""
    draw = torch.Generator().manual_seed(3)
    masks = torch.randint(0, 3, (2, 6, 5, 4), generator=draw)
    maps = torch.randint(0, 8, (6, 5, 4), generator=draw).float()
    scores, labels = torch.randn(6, 2, generator=draw), torch.rand(6, 2, generator=draw) < 0.6
    metrics = (SegmentationMetric(2), AttentionMetric(), ClassificationMetric(2))
    segmentation, attention, classification = metrics
    for image in range(6)[share]:
        one = slice(image, image + 1)
        segmentation.update(masks[0, one], masks[1, one])
        attention.update(maps[one], masks[1, one] == 1, masks[0, one] != 2)
        classification.update(scores[one], labels[one])
    values = [value for metric in metrics for value in metric.compute()]
    flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
    return " ".join(f"{number:.5f}" for number in flat)


if __name__ == "__main__":
    rank, file = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=len(SHARES))
    sys.stdout.write(figures(SHARES[rank]))
    distributed.destroy_process_group()
