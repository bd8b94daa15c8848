"""The options of every command."""

from dataclasses import dataclass, field
from typing import Literal

from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions

Shortcut = Literal["tag", "patch", "background", "frame"]
SuggestRule = Literal["confident_elsewhere", "diverse", "random"]

PLACED = "placed"  # in the metadata of an option that is given by its place, without its name: what it means

SOURCE = "a weights file or run folder"
TARGET = (
    "the file to write: .safetensors with everything needed to make the network again, .npz with an FCN in the names "
    "of the Chainer implementation, or .pth with the state dict of the bare module"
)


def validation_data() -> DataOptions:
    """What is measured and drawn: the validation split."""
    return DataOptions(split="val")


def _segmenter_training() -> TrainingOptions:
    return TrainingOptions(learning_rate=3e-4, trunk_learning_rate=1e-4)  # more than that erases a pretrained trunk


def _guidance_training() -> TrainingOptions:
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
    """Stage 1: train the classifier on the trunk's features; the trunk stays as it is.

    Args:
        weights: the trained network: a run folder, safetensors, npz or PyTorch state dict; none for the network that
            the network's options make, with the weights that they give it.
        out: the run's folder.
        fresh: start an FCN's or an added classifier from the seed even where the weights have one.
        resume: go on with the unfinished run in that folder.
        data: the images.
        network: which network the weights are of, where they do not say.
        training: budget and optimiser.
        hardware: what to run on.
    """

    weights: str | None = None
    out: str = "runs/classifier"
    fresh: bool = False
    resume: bool = False
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class TrainGain:
    """Stage 2: fine-tune the network under the guided objective.

    Args:
        weights: a network with a trained classifier: a run folder, safetensors, npz or PyTorch state dict; none for
            the network that the network's options make, with the weights that they give it.
        out: the run's folder.
        resume: go on with the unfinished run in that folder.
        data: the images.
        network: which network the weights are of, where they do not say.
        objective: the losses that are weighed.
        training: budget and optimiser.
        hardware: what to run on.
    """

    weights: str | None = None
    out: str = "runs/gain"
    resume: bool = False
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    training: TrainingOptions = field(default_factory=_guidance_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class Evaluate:
    """Measure segmentation, classification and attention of one or more networks.

    Args:
        weights: the networks: run folders or weights files, as many as you like.
        names: what to call them in the table; none for their paths.
        out: folder for metrics.json, metrics.md and report.html.
        accelerator: cpu, cuda, mps or auto.
        data: the images; give data.resize where the network was trained on resized ones.
        network: which network the weights are of, where they do not say.
        deletion: measure deletion and insertion too: the class's chance as the most attended pixels are erased to the
            mean colour, or inserted. They say whether the map matters to the score, not whether it is the object that
            matters, and take 22 forwards for each class of each image.
        sanity: add a row for each network with its weights shuffled. Attention with the same figures there owes them
            to the images and the network's build; better figures do not say that a map is right.
        flip: average each map with that of the mirrored image, mirrored back. Steadier than what training looks at,
            and blind to what is seen on one side only.
        scales: average each map with those of the image in other sizes, such as 0.75 1.25 of its sides; 1, its own,
            always counts. For networks that take any size.
    """

    weights: list[str]
    names: list[str] | None = None
    out: str = "runs/evaluation"
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=validation_data)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    deletion: bool = False
    sanity: bool = False
    flip: bool = False
    scales: list[float] | None = None


@dataclass(frozen=True)
class Visualize:
    """Draw image, ground truth, segmentation and attention of two networks side by side.

    Args:
        before: the first network: a run folder or weights file.
        after: the second network.
        out: folder for the pictures and report.html.
        rule: how the images are chosen: at random, or by how much the energy inside the object rises or falls.
        count: how many.
        seed: of the random choice.
        accelerator: cpu, cuda, mps or auto.
        data: the images.
        network: which network the weights are of, where they do not say.
        flip: average each map with that of the mirrored image, mirrored back.
        scales: average each map with those of the image in other sizes, such as 0.75 1.25 of its sides; 1, its own,
            always counts.
    """

    before: str
    after: str
    out: str = "runs/pictures"
    rule: Literal["random", "largest_rise", "largest_fall"] = "random"
    count: int = 8
    seed: int = 0
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=validation_data)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    flip: bool = False
    scales: list[float] | None = None


@dataclass(frozen=True)
class Recipe:
    """All stages in one file, with controls and one page of what came of it, report.html. Skips what is done.

    Args:
        out: folder of all its runs.
        weights: what the first stage starts from: a trunk, or a trained network where segmenter is none.
        test_split: the split that the table is measured on; tune on another one.
        pictures: how many before and after.
        seeds: how often everything is trained, each time from the next seed; the tables have mean and spread.
        controls: train the controls of guidance as well: from the same network with the same budget, on segmentation
            alone, and on all losses of the guided objective that do not look at maps.
        data: the images.
        network: the network to build, or which network the weights are of, where they do not say.
        segmenter: stage 0; none where weights is a trained network. Where weights is a pretrained trunk, give it a
            trunk_learning_rate near 1e-4: more erases what it knows.
        classifier: stage 1; none where the network classifies already.
        guided: what the guided network weighs in stage 2.
        guidance: budget and optimiser of stage 2, the same for the controls.
        hardware: what to run on.
    """

    out: str = "runs/recipe"
    weights: str | None = None
    test_split: str = "val"
    pictures: int = 8
    seeds: int = 1
    controls: bool = True
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    segmenter: TrainingOptions | None = None
    classifier: TrainingOptions | None = field(default_factory=TrainingOptions)
    guided: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    guidance: TrainingOptions = field(default_factory=_guidance_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)


@dataclass(frozen=True)
class Inject:
    """Copy a data set with a mark in each image that is tied to the classes in training and to nothing in measuring.

    A network that reads the mark and not the object is right in training and wrong wherever the mark is another
    class's. The copy is a plain folder: where the marks are is in `avoid/`, whose they are in `groups.csv`, and a
    recipe that trains without and with guidance is in `recipe.yaml`.

    Args:
        shortcut: a tag (a letter on a label), a patch (a grey square), the background (a texture; needs masks) or a
            frame.
        strength: 0 to 1: share of the training images whose mark is that of a class that they show; the others have
            that of any other class.
        split: the split to train on.
        measured: the splits to validate and test on; half of their marks are another class's.
        layout: what the folder is; auto looks.
        resize: length in pixels that each image's longer side is resized to; none keeps the full size.
        seed: of all that is drawn.
    """

    data: str = field(metadata={PLACED: "the data set's folder"})
    out: str = field(metadata={PLACED: "the folder to write"})
    shortcut: Shortcut = "tag"
    strength: float = 1.0
    split: str = "train"
    measured: list[str] = field(default_factory=lambda: ["val"])
    layout: str = "auto"
    resize: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Check:
    """Say what a data set holds and what is wrong with it, with a contact sheet of images and their annotation.

    Every image's size and classes are looked at, which reads all masks; some images are read whole. One that is broken
    is a line, and stops nothing.

    Args:
        out: folder for check.txt and annotations.png.
        limit: how many images of each split are read whole at most, spread over it.
        pictures: how many annotated images are drawn.
        data: how the data are read: layout, splits, groups, zones to avoid.
    """

    root: str = field(metadata={PLACED: "the data set's folder"})
    out: str = "runs/check"
    limit: int = 500
    pictures: int = 24
    data: DataOptions = field(default_factory=DataOptions)


@dataclass(frozen=True)
class Propagate:
    """From a few annotated images to all: write where the objects of the others probably are.

    A logistic regression on the network's features learns it from the images that data.annotated_fraction or
    data.annotated leaves annotated; `--data.propagated` then guides attention in the others by these masks.

    Args:
        out: folder for a mask of each image that is not annotated.
        weights: the network whose features tell; none for the one that the network's options make.
        margin: pixels that are nearer to even odds than that, in their logarithm, are void.
        accelerator: cpu, cuda, mps or auto.
        data: the images; those of its split are annotated in part.
        network: which network the weights are of, where they do not say.
    """

    out: str = "runs/propagated"
    weights: str | None = None
    margin: float = 0.5
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True)
class Suggest:
    """Say which images of a split to annotate next, so that few annotations guide attention well.

    Images that are annotated already are left out (those that data.annotated or data.annotated_fraction leaves
    annotated, or with masks or boxes where neither is given), and each class has its turn. Writes suggested.txt, a name
    a line as data.annotated takes it, suggested.csv with a reason for each, and suggested.png with attention drawn in.

    Args:
        weights: the trained network: a run folder or weights file; none for the one that the network's options make.
        out: folder for the list, the reasons and the pictures.
        count: how many images.
        rule: confident_elsewhere takes images in which the network is sure of the class and attends to something beside
            the object (where data.propagated says where it probably is) or to what recurs in other images of the class;
            diverse takes images unlike those that are annotated or suggested before; random draws them.
        seed: of the rules diverse and random.
        accelerator: cpu, cuda, mps or auto.
        data: the images; those of its split are suggested.
        network: which network the weights are of, where they do not say.
    """

    weights: str | None = None
    out: str = "runs/suggested"
    count: int = 25
    rule: SuggestRule = "confident_elsewhere"
    seed: int = 0
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True)
class App:
    """Look at images in the browser, erase what a network attends to, and draw where it should look.

    A page on this machine: drop an image or take one of the data's, see segmentation and attention of each class,
    before and after; what is drawn is kept as annotation in a plain folder. Nothing is fetched from outside.

    Args:
        weights: the network, or that before guidance: a run folder or weights file; none for the one that the network's
            options make.
        after: the network after guidance.
        images: folder of images to look at and draw on, where they are no data set yet.
        suggest: the rule by which the next image to draw on is chosen (see the command suggest), for which the network
            looks at all of the data's images first; none for the next one without annotation.
        out: the plain folder that drawings are kept in (images/, masks/, avoid/); the data's own root adds masks to it.
        host: the address to listen at; 0.0.0.0 lets other machines in.
        port: the port to listen at; 0 for any that is free.
        login: where the user and password that everybody has to give are written, as user:password: env:NAME, an
            environment variable, or the path of a file; none for none.
        upload_limit: megabytes that a dropped image may have.
        accelerator: cpu, cuda, mps or auto.
        data: the images of a data set; data.resize is also the size of dropped ones, which are made smaller where they
            are very large.
        network: which network the weights are of, where they do not say.
    """

    weights: str | None = None
    after: str | None = None
    images: str | None = None
    suggest: SuggestRule | None = None
    out: str = "runs/annotations"
    host: str = "127.0.0.1"
    port: int = 7860
    login: str | None = None
    upload_limit: float = 20.0
    accelerator: str = "auto"
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True)
class Convert:
    """Read any known weights file and write it in another format.

    Args:
        class_names: the foreground classes; none for the file's own.
        preprocessing: what the network was trained on: BGR 0-255 with the mean of VGG (caffe) or of the FCN authors, or
            RGB as torchvision; none for the file's own.
        network: which network the file is of, where it does not say.
    """

    source: str = field(metadata={PLACED: SOURCE})
    target: str = field(metadata={PLACED: TARGET})
    class_names: list[str] | None = None
    preprocessing: Literal["caffe", "fcn_authors", "torchvision"] | None = None
    network: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True)
class Fetch:
    """Fetch public weights or data by name.

    Args:
        folder: where to put it.
    """

    name: str = field(metadata={PLACED: "which file"})
    folder: str = "public"
