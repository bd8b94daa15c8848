"""Tiny networks, batches and options that the tests of training share with the scripts beside them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from wheretolook.networks.fcn.network import FCN8s
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, Preprocessing, Sample, collate
from wheretolook.training.gain import GainStage

CPU = HardwareOptions(accelerator="cpu")
NAMES = ("disc", "bar", "ring")
SIZE = (48, 32)  # features are 3 x 2
EVERYTHING = ObjectiveOptions(0.7, 1.3, 2.0, 1.1)

# every option of the objective, away from its default, with the weights that let it matter
VARIANTS: dict[str, dict[str, object]] = {
    "defaults": {},
    "mask_threshold": {"mask_threshold": 0.3},
    "mask_slope": {"mask_slope": 4.0},
    "normalising max": {"normalising": "max"},
    "normalising none": {"normalising": "none"},
    "upsampling aligned": {"upsampling": "aligned"},
    "upsampling features": {"upsampling": "features"},
    "mining_score logit": {"mining_score": "logit"},
    "mining_score softplus": {"mining_score": "softplus"},
    "channel_weights": {"channel_weights": "second_order"},
    "mining_updates": {"mining_updates": "attention"},
    "external sum": {"external": "sum"},
    "external energy": {"external": "energy"},
    "external_resolution": {"external_resolution": "features"},
    "energy at features": {"external": "energy", "external_resolution": "features"},
    "freeze_classifier": {"freeze_classifier": False},
    "no classification": {"classification_weight": 0.0},
    "no mining": {"mining_weight": 0.0},
    "no external": {"external_weight": 0.0},
    "no segmentation": {"segmentation_weight": 0.0},
}


class Smooth(nn.Module):
    """A classifier that is curved everywhere, so that the second order of the maps is not zero."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.hidden, self.scores = nn.Linear(channels, 8), nn.Linear(8, classes)

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.square().mean(dim=(2, 3)) + features.mean(dim=(2, 3))
        return self.scores(torch.tanh(self.hidden(pooled)))


def made_network(*, smooth: bool = False, dropout: float = 0.0, seed: int = 1, **options: object) -> FCN8s:
    """Narrow, float64, in evaluation mode; every layer has weights that say something."""
    network = FCN8s(
        NAMES,
        widths=(4, 8, 8, 12, 12),
        segmenter_width=16,
        classifier_widths=(16, 16),
        preprocessing=Preprocessing("BGR", 2.0, (0.9, 1.0, 1.1), (0.5, 0.6, 0.7)),
        dropout=dropout,
        **options,
    ).double()
    if smooth:
        network.classifier = Smooth(12, len(NAMES)).double()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or ".score_" in name or (smooth and name.startswith("classifier")):
            parameter.data.normal_(0, 0.2, generator=generator)
    return network.eval()


def sample(name: str, classes: tuple[int, ...], *, annotated: bool = True, segmented: bool = True) -> Sample:
    """Noise with a rectangle for each class, void between them; no mask at all where nothing is annotated."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    image = torch.rand(3, *SIZE, generator=generator, dtype=torch.float64)
    mask = torch.zeros(SIZE, dtype=torch.long)
    for place, index in enumerate(classes):
        top = 3 + 15 * place
        mask[top - 2 : top + 13, 4 + 3 * index : 24] = VOID
        mask[top : top + 11, 6 + 3 * index : 22] = 1 + index
    labels = torch.zeros(len(NAMES), dtype=torch.bool)
    labels[list(classes)] = True
    return Sample(image, mask if annotated else torch.full_like(mask, VOID), labels, annotated, segmented, name)


def made_samples() -> list[Sample]:
    """Three, one, two and no classes; without a mask; with boxes only."""
    return [
        sample("three", (0, 1, 2)),
        sample("one", (1,)),
        sample("labelled", (0, 2), annotated=False, segmented=False),
        sample("boxed", (2, 0), segmented=False),
        sample("empty", ()),
        sample("other", (2,)),
    ]


def made_batch() -> Batch:
    return collate(made_samples())


def floats(batch: Batch) -> Batch:
    return batch._replace(images=batch.images.float())


def scenes(**options: object) -> DataOptions:
    """A few made scenes, small and mixed."""
    return DataOptions(batch_size=2, crop=(32, 32), scenes=ScenesOptions(size=40, classes=3, images=5), **options)


def scene_network(seed: int = 0, dropout: float = 0.5) -> FCN8s:
    """What the made scenes are trained on: float32, with dropout, named as their classes are."""
    return FCN8s(
        ("striped_disc", "dotted_square", "checked_triangle"),
        widths=(4, 8, 8, 8, 8),
        segmenter_width=16,
        classifier_widths=(16, 16),
        preprocessing=Preprocessing(),
        dropout=dropout,
        seed=seed,
    )


def budget(steps: int = 2, **options: object) -> TrainingOptions:
    return TrainingOptions(steps=steps, learning_rate=1e-2, **options)


def plain_stage() -> GainStage:
    """Stage 2 by plain descent and without dropout, so that rounding errors stay small."""
    training = replace(budget(3, validate_every=3), optimiser="sgd", learning_rate=0.02, schedule="constant")
    return GainStage(scene_network(dropout=0.0), training, ObjectiveOptions(external_weight=1.0))


class ConstantNetwork(GuidedNetwork):
    """A guided network whose answer is drawn in the image: red is the mask / 10, green the class that it sees.

    Its features, one channel a class, are 1 where green says so, and each class's score is their mean, so that the
    attention map is, up to a factor, exactly what green draws.
    """

    def __init__(self, class_names: tuple[str, ...] = NAMES) -> None:
        super().__init__()
        self.class_names, self.preprocessing = class_names, Preprocessing(mean=(0.0, 0.0, 0.0))
        self.trunk, self.classifier, self.segmenter = nn.Identity(), nn.Dropout(), nn.Identity()
        self.margin = nn.Parameter(torch.tensor(0.001))

    def forward(self, images: Tensor, *, segment: bool = True) -> GuidedOutput:
        red, green = ((10 * images[:, channel]).round().long() for channel in (0, 1))
        count = len(self.class_names)
        with torch.inference_mode(False), torch.enable_grad():
            features = torch.stack([(green == 1 + index).float() for index in range(count)], dim=1).clone()
            features = features.detach().requires_grad_()
            scores = features.mean(dim=(2, 3)) - self.margin
        masks = torch.stack([(red == value).float() for value in range(1 + count)], dim=1)
        return GuidedOutput(scores, features, masks if segment else None, differentiable=False)


# how the six images of `made_samples` may fall to two processes
PARTINGS = {
    "all annotation here": [0, 1, 3, 5, 2, 4],
    "nothing to guide there": [0, 1, 3, 4, 4, 4],
}
