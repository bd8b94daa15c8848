"""Every option, with its default and its meaning. No torch here, so that `--help` answers at once.

The docstrings are what `--help` prints. Defaults that the literature leaves open are those of the design; figures of
others stand beside them.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ScenesConfig:
    """Scenes made on the fly from a seed: textured objects on textured backgrounds.

    Args:
        size: height and width in pixels.
        classes: how many classes, 2 to 8.
        images: images in each split.
        bias: 0 to 1: share of training images put on the background that belongs to their first object; the rest draw
            any background evenly.
        val_bias: the same for every other split.
        seed: another seed is another world of scenes.
    """

    size: int = 64
    classes: int = 6
    images: int = 600
    bias: float = 0.9
    val_bias: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Where images come from and how they are served.

    Args:
        root: folder in VOC layout or a plain folder (images/, labels.csv); none for made scenes.
        layout: what the folder is; auto looks.
        split: the split to train on or to evaluate: a name, or the path of a file of names.
        val_split: the split to validate on while training.
        sbd: root of the Semantic Boundaries data set, whose masks are added to the training split, but for images of
            the validation split and of any other list in the root that does not hold the whole training split.
        held_out: further splits, names or paths, whose images must not come in with SBD, nor with a plain folder's
            automatic cut.
        resize: length in pixels that each image's longer side is resized to; none keeps the full size.
        crop: height and width of the training crops.
        scale: smallest and largest factor of the random resize before the crop.
        flip: mirror half of the training images.
        colour: strength of the random brightness, contrast and saturation, 0 to 1.
        batch_size: images a step and process.
        workers: processes that load images; 0 loads in the main process.
        scenes: the made scenes, where root is none.
    """

    root: str | None = None
    layout: Literal["auto", "voc", "folder", "scenes"] = "auto"
    split: str = "train"
    val_split: str = "val"
    sbd: str | None = None
    held_out: list[str] = field(default_factory=list)
    resize: int | None = None
    crop: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.75, 1.5)
    flip: bool = True
    colour: float = 0.2
    batch_size: int = 8
    workers: int = 0
    scenes: ScenesConfig = field(default_factory=ScenesConfig)


@dataclass(frozen=True)
class NetworkConfig:
    """The network to build where no trained one is given.

    Args:
        architecture: how many strides the segmenter joins: 8s uses pool3 and pool4, 16s pool4, 32s neither.
        widths: channels of the five blocks of the trunk; VGG16 has 64 128 256 512 512.
        segmenter_width: channels of fc6 and fc7; the original has 4096.
        classifier_widths: widths of the classifier's two fully connected layers; the predecessor has 4096 4096.
        padding: caffe pads the image by 100 and crops as the original does; same pads each layer (one trunk pass); none
            for what the weights are made for, and same where nothing is known.
        dropout: share of activations dropped in fc6, fc7 and the classifier while they train.
        classifier_dropout: the same for the classifier alone; none for dropout.
    """

    architecture: Literal["fcn8s", "fcn16s", "fcn32s"] = "fcn8s"
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    segmenter_width: int = 4096
    classifier_widths: tuple[int, int] = (4096, 4096)
    padding: Literal["same", "caffe"] | None = None
    dropout: float = 0.5
    classifier_dropout: float | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """One stage's budget and optimiser.

    Args:
        steps: optimiser steps.
        optimiser: adam, adamw or sgd (with momentum 0.9).
        learning_rate: of everything that trains and has no rate of its own, as trunk and classifier may.
        trunk_learning_rate: of the trunk's convolutions; none for learning_rate.
        classifier_learning_rate: of the classifier; none for learning_rate. In stage 2 a classifier that is not frozen
            may learn faster than a segmenter that is already trained.
        weight_decay: L2 penalty, decoupled with adamw.
        schedule: constant; one_cycle warms up and anneals to zero; poly falls as (1 - step / steps) ** 0.9.
        accumulate: batches whose gradients make one step.
        clip: largest norm of the gradient; none for no limit.
        validate_every: steps between two validations (and checkpoints); none for ten a stage.
        seed: of the fresh weights, the order of images, their augmentation and dropout.
    """

    steps: int = 1000
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    trunk_learning_rate: float | None = None
    classifier_learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle", "poly"] = "one_cycle"
    accumulate: int = 1
    clip: float | None = None
    validate_every: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ObjectiveConfig:
    """The guided objective of stage 2: what is weighed, and what the paper leaves open.

    Args:
        classification_weight: of the multi-label cross-entropy of the class scores.
        mining_weight: alpha: of the score left when the attended region is erased.
        external_weight: of the agreement of attention and masks or boxes.
        segmentation_weight: of the per-pixel cross-entropy.
        freeze_classifier: keep the classifier as stage 1 left it (the predecessor), or let it train along.
        external: squared difference (mean over pixels), its sum, or energy: 1 - energy inside / all energy.
        external_resolution: where map and mask are compared.
        mask_threshold: attention, normalised to [0, 1], at which the soft mask is one half.
        mask_slope: steepness of the soft mask.
        normalising: of a map before it is thresholded or compared: min_max, max only, or none.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
        mining_score: what is minimised of the erased image's logit.
        channel_weights: constants in the graph, or differentiated too (second order).
        mining_updates: all weights of the masked pass, or attention: only the path through the mask.
        masked_pass: mode of batch norm and dropout while the masked images pass.
        classes_per_image: how many present classes of an image to guide, drawn at random; none for all.
        mining_chunk: masked images at a time; memory grows with it, the result does not change (but for what dropout
            draws where masked_pass is train).
    """

    classification_weight: float = 1.0
    mining_weight: float = 1.0
    external_weight: float = 0.0
    segmentation_weight: float = 1.5
    freeze_classifier: bool = True
    external: Literal["squared", "sum", "energy"] = "squared"
    external_resolution: Literal["image", "features"] = "image"
    mask_threshold: float = 0.5
    mask_slope: float = 10.0
    normalising: Literal["min_max", "max", "none"] = "min_max"
    upsampling: Literal["bilinear", "aligned", "features"] = "bilinear"
    mining_score: Literal["sigmoid", "logit", "softplus"] = "sigmoid"
    channel_weights: Literal["constant", "second_order"] = "constant"
    mining_updates: Literal["all", "attention"] = "all"
    masked_pass: Literal["eval", "train"] = "eval"
    classes_per_image: int | None = None
    mining_chunk: int = 2


@dataclass(frozen=True)
class HardwareConfig:
    """What to run on; the names are Lightning's.

    Args:
        accelerator: cpu, gpu, mps, ... or auto.
        devices: how many devices of each machine.
        nodes: how many machines.
        precision: of the arithmetic; bf16-mixed halves the time on recent machines.
        strategy: auto, ddp, ...
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Literal["32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    strategy: str = "auto"


def _validation_data() -> DataConfig:
    return DataConfig(split="val")


def _segmenter_training() -> TrainingConfig:
    return TrainingConfig(learning_rate=3e-4, trunk_learning_rate=1e-4)  # more than that erases a pretrained trunk


def _gain_training() -> TrainingConfig:
    return TrainingConfig(learning_rate=1e-4, trunk_learning_rate=3e-5, classifier_learning_rate=1e-3)


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
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=_segmenter_training)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


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
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


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
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    training: TrainingConfig = field(default_factory=_gain_training)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


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
    data: DataConfig = field(default_factory=_validation_data)


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
    rule: Literal["random", "largest_gain", "largest_loss"] = "random"
    count: int = 8
    seed: int = 0
    accelerator: str = "auto"
    data: DataConfig = field(default_factory=_validation_data)


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
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    segmenter: TrainingConfig | None = None
    classifier: TrainingConfig = field(default_factory=TrainingConfig)
    control: ObjectiveConfig | None = None
    guided: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    gain: TrainingConfig = field(default_factory=_gain_training)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
