"""Tiny networks, batches and options that the tests of training share with the scripts beside them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from wheretolook.losses.objective import LOSSES as TABLE
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, Part, Preprocessing, Sample, collate
from wheretolook.training.stage import Stage

CPU = HardwareOptions(accelerator="cpu")
NAMES = ("disc", "bar", "ring")
SIZE = (48, 32)  # features are 3 x 2
LOSSES = tuple(TABLE)


def changed(objective: ObjectiveOptions, options: Mapping[str, object]) -> ObjectiveOptions:
    """The objective with options by their dotted names, such as `mining.threshold`."""
    for name, value in options.items():
        group, dot, inner = name.partition(".")
        new = replace(getattr(objective, group), **{inner: value}) if dot else value
        objective = replace(objective, **{group: new})
    return objective


def weighing(**weights: float) -> dict[str, object]:
    """Options that weigh these losses and no other."""
    return {f"{name}.weight": weights.get(name, 0.0) for name in LOSSES}


EVERYTHING = changed(ObjectiveOptions(), weighing(classification=0.7, mining=1.3, squared=2.0, segmentation=1.1))
EVERY = {f"{name}.weight": 0.7 + 0.3 * place for place, name in enumerate(LOSSES)}


def instead(loss: str, **options: object) -> dict[str, object]:
    """That loss with these options, in place of the squared one."""
    return {
        "squared.weight": 0.0,
        f"{loss}.weight": 2.0,
        **{f"{loss}.{name}": value for name, value in options.items()},
    }


ENERGY = instead("energy")

# every option of the objective, away from its default, with the weights that let it matter
VARIANTS: dict[str, dict[str, object]] = {
    "defaults": {},
    "mining.threshold": {"mining.threshold": 0.3},
    "mining.slope": {"mining.slope": 4.0},
    "normalising max": {"mining.normalising": "max", "squared.normalising": "max"},
    "normalising none": {"mining.normalising": "none", "squared.normalising": "none"},
    "upsampling aligned": {"mining.upsampling": "aligned", "squared.upsampling": "aligned"},
    "upsampling features": {"mining.upsampling": "features", "squared.upsampling": "features"},
    "mining.score logit": {"mining.score": "logit"},
    "mining.score softplus": {"mining.score": "softplus"},
    "channel_weights": {"channel_weights": "second_order"},
    "mining.extremes": {"mining.extremes": "differentiated"},
    "mining.erase blur": {"mining.erase": "blur"},
    "mining.least_score": {"mining.least_score": 0.54},
    "mining.union": {"mining.union": True},
    "mining.union of sure ones": {"mining.union": True, "mining.least_score": 0.54, "mining.erase": "blur"},
    "mining.updates": {"mining.updates": "attention"},
    "squared.reduction": {"squared.reduction": "sum"},
    "squared.extremes": {"squared.extremes": "differentiated"},
    "squared.resolution": {"squared.resolution": "features"},
    "energy": ENERGY,
    "energy aligned": {**ENERGY, "energy.upsampling": "aligned"},
    "energy at features": {**ENERGY, "energy.resolution": "features"},
    "energy beside squared": {"energy.weight": 2.0},
    "softmax_energy": instead("softmax_energy"),
    "softmax_energy hot": instead("softmax_energy", temperature=3.0),
    "size_fair_energy": instead("size_fair_energy"),
    "size_fair_energy at features": instead("size_fair_energy", resolution="features"),
    "size_fair_energy aligned": instead("size_fair_energy", upsampling="aligned"),
    "l1": instead("l1"),
    "l1 at features": instead("l1", resolution="features", normalising="min_max"),
    "l1 by features": instead("l1", upsampling="features", extremes="constant"),
    "cross_entropy": instead("cross_entropy"),
    "cross_entropy everywhere": instead("cross_entropy", outside=True, upsampling="aligned", extremes="constant"),
    "cross_entropy at features": instead("cross_entropy", resolution="features", normalising="min_max"),
    "rrr_maps": instead("rrr_maps"),
    "rrr_maps at features": instead("rrr_maps", resolution="features", normalising="none"),
    "rrr_maps by features": instead("rrr_maps", upsampling="features", extremes="constant"),
    "input_gradients": instead("input_gradients"),
    "input_gradients share": instead("input_gradients", share="share"),
    "robust_gradients": instead("robust_gradients", samples=0),
    "robust_gradients share": instead("robust_gradients", samples=0, ascent=2, epsilon=0.3, share="share"),
    "res": instead("res"),
    "res with slack": instead("res", slack=0.4, blur=2.0),
    "separability": instead("separability", slope=10.0),
    "separability threshold": instead("separability", slope=10.0, threshold=0.2),
    "layer_consistency": instead("layer_consistency", slope=10.0),
    "layer_consistency threshold": instead("layer_consistency", slope=10.0, threshold=0.2),
    "attention_distillation": instead("attention_distillation"),
    "attention_distillation right": instead("attention_distillation", least_inside=0.1),
    "freeze_classifier": {"freeze_classifier": False},
    "no classification": {"classification.weight": 0.0},
    "no mining": {"mining.weight": 0.0},
    "no squared": {"squared.weight": 0.0},
    "no segmentation": {"segmentation.weight": 0.0},
}


# how maps and annotations are brought to one resolution is the same on every number of processes
SHARED = {name: options for name, options in VARIANTS.items() if not name.endswith(("aligned", "features"))}


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


def guided_stage(options: Mapping[str, object], *, smooth: bool = False) -> Stage:
    """Stage 2 of a made network; where it keeps the network that it began with, that is another one."""
    stage = Stage.guidance(made_network(smooth=smooth), TrainingOptions(), changed(EVERYTHING, options))
    if stage.earlier:
        stage.earlier = (made_network(smooth=smooth, seed=2),)
    return stage


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
    mask = mask if annotated else torch.full_like(mask, VOID)
    return Sample(image, mask, labels, planes(mask, classes), segmented, name)


def planes(mask: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Where each class is, in the order of the classes; all void where the mask does not show it."""
    found = torch.full((len(classes), *mask.shape), VOID, dtype=torch.uint8)
    for plane, index in zip(found, sorted(classes), strict=True):
        if (mask == 1 + index).any():
            plane[mask != VOID] = 0
            plane[mask == 1 + index] = 1
    return found


def made_samples(*, weighted: bool = False) -> list[Sample]:
    """Three, one, two and no classes; without a mask; with boxes only."""
    samples = [
        sample("three", (0, 1, 2)),
        sample("one", (1,)),
        sample("labelled", (0, 2), annotated=False, segmented=False),
        sample("boxed", (2, 0), segmented=False),
        sample("empty", ()),
        sample("other", (2,)),
    ]
    return [one._replace(weight=weight) for one, weight in zip(samples, WEIGHTS, strict=True)] if weighted else samples


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


def plain_stage() -> Stage:
    """Stage 2 by plain descent and without dropout, so that rounding errors stay small."""
    training = replace(budget(3, validate_every=3), optimiser="sgd", learning_rate=0.02, schedule="constant")
    return Stage.guidance(scene_network(dropout=0.0), training, changed(ObjectiveOptions(), {"squared.weight": 1.0}))


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

    @property
    def segments(self) -> bool:
        return True

    def part(self, name: Part) -> list[nn.Module]:
        return [getattr(self, name)]

    def forward(self, images: Tensor, *, segment: bool = True) -> GuidedOutput:
        red, green = ((10 * images[:, channel]).round().long() for channel in (0, 1))
        count = len(self.class_names)
        with torch.inference_mode(False), torch.enable_grad():
            features = torch.stack([(green == 1 + index).float() for index in range(count)], dim=1).clone()
            features = features.detach().requires_grad_()
            scores = features.mean(dim=(2, 3)) - self.margin
        masks = torch.stack([(red == value).float() for value in range(1 + count)], dim=1)
        return GuidedOutput(scores, features, masks if segment else None, differentiable=False)


class Altered:
    """A loader whose batches are altered on the way."""

    def __init__(self, batches: Collection[Batch], alter: Callable[[Batch], Batch]) -> None:
        self.batches, self.alter = batches, alter

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.alter, self.batches)


WEIGHTS = (0.5, 2.0, 0.0, 1.5, 3.0, 0.25)  # of these samples, where they have any
WEIGHTED = ("defaults", "energy", "mining.union", "input_gradients", "separability")  # variants to weigh images in
# how the six images of `made_samples` may fall to two processes
PARTINGS = {
    "all annotation here": [0, 1, 3, 5, 2, 4],
    "nothing to guide there": [0, 1, 3, 4, 4, 4],
}
