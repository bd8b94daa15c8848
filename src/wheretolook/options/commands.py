"""The options of every command."""

from dataclasses import dataclass, field
from typing import Literal

from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions


def _validation_data() -> DataOptions:
    return DataOptions(split="val")


def _segmenter_training() -> TrainingOptions:
    return TrainingOptions(learning_rate=3e-4, trunk_learning_rate=1e-4)  # more than that erases a pretrained trunk


def _gain_training() -> TrainingOptions:
    return TrainingOptions(learning_rate=1e-4, trunk_learning_rate=3e-5, classifier_learning_rate=1e-3)


@dataclass(frozen=True)
class TrainSegmenter:
    """Stage 0: train trunk and segmenter on masks, where no trained segmenter is at hand.

    Args:
        weights: a trunk, a VGG16 or a whole network to start from; none to start afresh.
        out: the run's folder.
        resume: go on with the unfinished run in that folder.
        data: the images.
        network: the network to build; a whole network in weights stays as it is, but for its padding.
        training: budget and optimiser.
        hardware: what to run on.
    """

    weights: str | None = None
    out: str = "runs/segmenter"
    resume: bool = False
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=_segmenter_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class TrainClassifier:
    """Stage 1: train the classifier on a trained segmenter's last convolutions, which stay as they are.

    Args:
        weights: the trained network: a run folder, safetensors, npz or PyTorch state dict.
        out: the run's folder.
        fresh: start the classifier from the seed even where the weights have one.
        resume: go on with the unfinished run in that folder.
        data: the images.
        training: budget and optimiser.
        hardware: what to run on.
    """

    weights: str
    out: str = "runs/classifier"
    fresh: bool = False
    resume: bool = False
    data: DataOptions = field(default_factory=DataOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class TrainGain:
    """Stage 2: fine-tune the network under the guided objective.

    Args:
        weights: a network with a trained classifier: a run folder, safetensors, npz or PyTorch state dict.
        out: the run's folder.
        resume: go on with the unfinished run in that folder.
        data: the images.
        objective: what is weighed.
        training: budget and optimiser.
        hardware: what to run on.
    """

    weights: str
    out: str = "runs/gain"
    resume: bool = False
    data: DataOptions = field(default_factory=DataOptions)
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    training: TrainingOptions = field(default_factory=_gain_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class Evaluate:
    """Measure segmentation, classification and attention of one or more networks.

    Args:
        weights: the networks: run folders or weights files, as many as you like.
        names: what to call them in the table; none for their paths.
        out: folder for metrics.json and metrics.md.
        accelerator: cpu, cuda, mps or auto.
        data: the images; give data.resize where the network was trained on resized ones.
    """

    weights: list[str]
    names: list[str] | None = None
    out: str = "runs/evaluation"
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=_validation_data)


@dataclass(frozen=True)
class Visualize:
    """Draw image, ground truth, segmentation and attention of two networks side by side.

    Args:
        before: the first network: a run folder or weights file.
        after: the second network.
        out: folder for the pictures.
        rule: how the images are chosen: at random, or by how much the energy inside the object rises or falls.
        count: how many.
        seed: of the random choice.
        accelerator: cpu, cuda, mps or auto.
        data: the images.
    """

    before: str
    after: str
    out: str = "runs/pictures"
    rule: Literal["random", "largest_rise", "largest_fall"] = "random"
    count: int = 8
    seed: int = 0
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=_validation_data)


@dataclass(frozen=True)
class Recipe:
    """The whole mission in one file: three stages, a control, the table, curves and pictures. Skips what is done.

    Args:
        out: folder of all its runs.
        weights: what the first stage starts from: a trunk, or a trained segmenter where segmenter is none.
        test_split: the split that the table is measured on; tune on another one.
        pictures: how many before and after.
        data: the images.
        network: the network to build, where a segmenter is trained.
        segmenter: stage 0; none where weights is a trained segmenter. Where weights is a pretrained trunk, give it a
            trunk_learning_rate near 1e-4: more erases what it knows.
        classifier: stage 1.
        control: what the control of stage 2 weighs; none for no control.
        guided: what the guided network weighs in stage 2.
        gain: budget and optimiser of stage 2, the same for both.
        hardware: what to run on.
    """

    out: str = "runs/recipe"
    weights: str | None = None
    test_split: str = "val"
    pictures: int = 8
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    segmenter: TrainingOptions | None = None
    classifier: TrainingOptions = field(default_factory=TrainingOptions)
    control: ObjectiveOptions | None = None
    guided: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    gain: TrainingOptions = field(default_factory=_gain_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)
