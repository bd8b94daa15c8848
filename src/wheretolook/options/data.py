"""Where images come from and how they are served."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ScenesOptions:
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
class DataOptions:
    """Where images come from and how they are served.

    Args:
        root: folder in VOC layout, a plain folder (images/, labels.csv), class folders (train/cat/a.jpg) or the export
            of an annotation tool; none for made scenes.
        layout: what the folder is: voc, waterbirds, label_studio, folder, coco, yolo, class_folders, labelme or scenes;
            auto looks.
        split: the split to train on or to evaluate: a name, or the path of a file of names.
        val_split: the split to validate on while training.
        one_class: true where every image shows exactly one class, so that the highest score says which (softmax); false
            where one may show several, each of which is there where its score is above 0; none for what the data say:
            one where each image has one label, several where masks or annotation tools' exports say what it shows.
        sbd: root of the Semantic Boundaries data set, whose masks are added to the training split, but for images of
            the validation split and of any other list in the root that does not hold the whole training split.
        held_out: further splits, names or paths, that something is measured on: like those of val_split, their images
            are never trained on.
        groups: a table of attributes with a row an image, for the figures of the worst group; none for groups.csv in
            the root where group_by names columns of it.
        group_by: the columns of that table whose values make the groups, together with the class where every image
            has one.
        weights: a table with a row an image and a column weight: how much each training image counts in the losses of
            guidance and classification; none for all alike.
        annotated_fraction: share of the training images whose annotation guides attention, drawn class by class; the
            others are only labelled, as far as attention goes. Segmentation keeps all masks, and zones to avoid hold.
        annotated_seed: of that draw, of points, strokes and noise.
        annotated: a file that lists the training images whose annotation guides attention, one a line; none for
            the fraction.
        propagated: folder of masks that guide attention in the training images that are not annotated, as the command
            propagate writes it.
        annotations: guide by the masks as they are, by the smallest box around each class's pixels, by a point or a
            stroke (scribbles) on them and one beside all classes, drawn by annotated_seed, or by none of it: then
            avoided zones alone say where to look.
        mark_radius: of points, and half the width of strokes, as a share of the image's longer side; of those that are
            drawn, and of LabelMe's points and lines.
        noise: 0 to 1: each mask that guides attention is shifted, grown or shrunk (which one is drawn by
            annotated_seed) by that share of the root of its area, to measure what a loss makes of it.
        dilate: pixels by which annotated objects grow to every side before they guide attention.
        avoid: classes of the annotation that say where not to look (a ruler, a tag): they are classes no more, and the
            plane of every other class of the image is 0 there.
        avoid_zones: a folder of masks, in the root or anywhere, that say where not to look (NAME.png, anything but 0);
            where the object is not annotated, attention may go everywhere else.
        measured_zones: a folder of such masks that guide nothing: how much attention lies in them is measured, as it is
            of zones to avoid.
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
    layout: str = "auto"
    split: str = "train"
    val_split: str = "val"
    one_class: bool | None = None
    sbd: str | None = None
    held_out: list[str] = field(default_factory=list)
    groups: str | None = None
    group_by: list[str] = field(default_factory=list)
    weights: str | None = None
    annotated_fraction: float = 1.0
    annotated_seed: int = 0
    annotated: str | None = None
    propagated: str | None = None
    annotations: Literal["masks", "boxes", "points", "scribbles", "none"] = "masks"
    mark_radius: float = 0.02
    noise: float = 0.0
    dilate: int = 0
    avoid: list[str] = field(default_factory=list)
    avoid_zones: str | None = None
    measured_zones: str | None = None
    resize: int | None = None
    crop: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.75, 1.5)
    flip: bool = True
    colour: float = 0.2
    batch_size: int = 8
    workers: int = 0
    scenes: ScenesOptions = field(default_factory=ScenesOptions)
