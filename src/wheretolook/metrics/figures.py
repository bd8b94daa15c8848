"""Every figure once: what it is called and how it is printed and drawn, what it is taken from and what it cannot see.

Tables, curves, the summary, validation and the docs read `FIGURES`. A new figure is a function, of pairs or of all that
was gathered, and one entry here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .attention import AttentionFigures, PairFigure, precision_at, recall_at
from .classification import ClassificationFigures
from .marks import MarkFigures
from .segmentation import SegmentationFigures

Family = Literal["segmentation", "classification", "attention", "count"]


class Gathered(NamedTuple):
    """All that was gathered of a network on a split."""

    segmentation: SegmentationFigures
    classification: ClassificationFigures
    attention: AttentionFigures
    ceiling: AttentionFigures  # with what `grid_ceiling` gives in place of the network's maps
    marks: MarkFigures
    means: dict[str, float]  # over pairs, of the figures that are `of_pairs`, and of deletion and insertion
    images: int
    masks: int  # images whose mask is exact


@dataclass(frozen=True)
class Figure:
    """One figure of a network.

    Args:
        key: its name in files: in metrics.json, and in history.csv after `val/`.
        heading: its name in tables and pictures.
        family: what it speaks of.
        blind: what it cannot see, in one sentence.
        of: takes the figure from all that was gathered; NaN where nothing could be measured.
        of_pairs: in place of `of`: gives one value a pair, whose mean is the figure.
        unit: `"share"` in [0, 1], printed in percent; `"ratio"`, printed as 1.53x; or `"count"`.
        decimals: how many are printed.
        colour: of its line over the steps of a training; shares have one, each its own.
        higher_is_better: None where neither end is.
        alone: its name where no table stands around it; none for its heading.
        validated: whether training measures it at every validation, where it speaks of what is trained.
    """

    key: str
    heading: str
    family: Family
    blind: str
    of: Callable[[Gathered], float] | None = None
    of_pairs: PairFigure | None = None
    unit: Literal["share", "ratio", "count"] = "share"
    decimals: int = 2
    colour: str = ""
    higher_is_better: bool | None = True
    alone: str = ""
    validated: bool = False

    def measured(self, gathered: Gathered) -> float | int:
        """The figure itself; NaN where nothing could be measured."""
        return gathered.means[self.key] if self.of is None else self.of(gathered)

    def printed(self, value: float | int, *, most: int = 4) -> str:
        """A value as tables print it.

        Args:
            value: in the figure's unit.
            most: decimals at most; two are enough beside a spread.

        Example:
            >>> FIGURES["mean_iu"].printed(0.65514), FIGURES["f1"].printed(0.9), FIGURES["pairs"].printed(7.0)
            ('65.5140', '90.00', '7')
        """
        number = 100 * value if self.unit == "share" else value
        return f"{number:.{min(most, self.decimals)}f}" + "x" * (self.unit == "ratio")


_FIGURES = (
    Figure(
        "accuracy",
        "Accuracy",
        "segmentation",
        "Small objects: where background is most of the pixels, calling everything background scores high.",
        of=lambda gathered: gathered.segmentation.accuracy,
        decimals=4,
        colour="#7b868f",
        validated=True,
    ),
    Figure(
        "accuracy_class",
        "Accuracy Class",
        "segmentation",
        "Objects painted too large: only the pixels of a class's own truth are looked at.",
        of=lambda gathered: gathered.segmentation.accuracy_class,
        decimals=4,
        colour="#3b8fc4",
    ),
    Figure(
        "mean_iu",
        "Mean IU",
        "segmentation",
        "Why a pixel is right: a boat may be recognised by the water around it.",
        of=lambda gathered: gathered.segmentation.mean_iu,
        decimals=4,
        colour="#c4500b",
        validated=True,
    ),
    Figure(
        "fwavacc",
        "FWAVACC",
        "segmentation",
        "Rare classes: background and the large ones decide it.",
        of=lambda gathered: gathered.segmentation.fwavacc,
        decimals=4,
        colour="#14694a",
    ),
    Figure(
        "image_accuracy",
        "Image accuracy",
        "classification",
        "Classes and groups of few images, and whether an answer rests on the object or on its surroundings.",
        of=lambda gathered: gathered.classification.image_accuracy,
        colour="#2f3fb5",
        validated=True,
    ),
    Figure(
        "worst_class_accuracy",
        "Worst class",
        "classification",
        "All classes but one, and that one by chance where it has few images.",
        of=lambda gathered: gathered.classification.worst_class_accuracy,
        colour="#3f9d3f",
        alone="Worst class's accuracy",
    ),
    Figure(
        "worst_group_accuracy",
        "Worst group",
        "classification",
        "Groups that nobody named, and chance where the worst one has few images.",
        of=lambda gathered: gathered.classification.worst_group_accuracy,
        colour="#c45fc0",
        alone="Worst group's accuracy",
    ),
    Figure(
        "mean_average_precision",
        "mAP",
        "classification",
        "Whether a score says yes or no: only the order of the images within a class counts.",
        of=lambda gathered: gathered.classification.mean_average_precision,
        colour="#902159",
        validated=True,
    ),
    Figure(
        "f1",
        "F1",
        "classification",
        "How sure the network is, and a good order of scores that all lie on one side of the decision.",
        of=lambda gathered: gathered.classification.f1,
        colour="#c98a10",
        validated=True,
    ),
    Figure(
        "energy_pointing",
        "Energy pointing",
        "attention",
        "Parts of an object that are left out: a spot in its middle scores as high as the whole.",
        of=lambda gathered: gathered.attention.energy_pointing,
        colour="#4e4385",
        validated=True,
    ),
    Figure(
        "energy_pointing_over_chance",
        "over chance",
        "attention",
        "Large objects: they have little room above chance, so small ones decide it.",
        of=lambda gathered: gathered.attention.energy_pointing_over_chance,
        unit="ratio",
        alone="Energy pointing over chance",
    ),
    Figure(
        "attention_iou",
        "Attention IoU",
        "attention",
        "How steep a map is: its threshold is the best one for these very images.",
        of=lambda gathered: gathered.attention.attention_iou,
        colour="#43a894",
        validated=True,
    ),
    Figure(
        "attention_iou_20",
        "at 20 %",
        "attention",
        "A map that is right but smooth: at a fixed threshold it spreads over the border.",
        of=lambda gathered: gathered.attention.attention_iou_20,
        colour="#a8577e",
        alone="Attention IoU at 20 %",
    ),
    Figure(
        "attention_recall",
        "Recall",
        "attention",
        "Attention beside the object: a map that is high everywhere has found all of it.",
        of_pairs=recall_at,
        colour="#b1c223",
        alone="Attention recall at 20 %",
    ),
    Figure(
        "attention_precision",
        "Precision",
        "attention",
        "Parts of an object that are left out, and how much stronger a map is on the object than beside it.",
        of_pairs=precision_at,
        colour="#c2b781",
        alone="Attention precision at 20 %",
    ),
    Figure(
        "attention_iou_ceiling",
        "Ceiling",
        "attention",
        "The network: it says what Attention IoU its grid of features allows, whatever the network learned.",
        of=lambda gathered: gathered.ceiling.attention_iou,
        colour="#6f4300",
        higher_is_better=None,
        alone="Ceiling of attention IoU",
    ),
    Figure(
        "pointing_game",
        "Pointing game",
        "attention",
        "Everything but the maximum: a map nearly as strong on the background scores full marks.",
        of=lambda gathered: gathered.attention.pointing_game,
        colour="#2b3f50",
    ),
    Figure(
        "empty_maps",
        "Empty maps",
        "attention",
        "Maps that are all but empty.",
        of=lambda gathered: gathered.attention.empty_maps,
        colour="#8f8ad6",
        higher_is_better=False,
    ),
    Figure(
        "energy_on_mark",
        "Energy on mark",
        "attention",
        "Why attention is there: where the zone to avoid lies on an object, attention on that object counts as well.",
        of=lambda gathered: gathered.marks.energy_on_mark,
        colour="#5a3a2e",
        higher_is_better=False,
        alone="Energy on the mark",
    ),
    Figure(
        "energy_on_mark_over_chance",
        "over chance",
        "attention",
        "Large zones: whatever a network does, little of the image is left beside them.",
        of=lambda gathered: gathered.marks.energy_on_mark_over_chance,
        unit="ratio",
        higher_is_better=False,
        alone="Energy on the mark over chance",
    ),
    Figure(
        "deletion",
        "Deletion",
        "attention",
        "Why a score falls (an image with holes is unlike any that was learned), and whether the object matters.",
        of=lambda gathered: gathered.means.get("deletion", math.nan),
        colour="#21c715",
        higher_is_better=False,
    ),
    Figure(
        "insertion",
        "Insertion",
        "attention",
        "Whether what matters is the object: of a network that knows boats by water, a map on the water is the best.",
        of=lambda gathered: gathered.means.get("insertion", math.nan),
        colour="#931bc7",
    ),
    Figure(
        "images",
        "Images",
        "count",
        "How many of them are annotated.",
        of=lambda gathered: gathered.images,
        unit="count",
        decimals=0,
        higher_is_better=None,
    ),
    Figure(
        "masks",
        "with masks",
        "count",
        "How many pixels of a mask are void.",
        of=lambda gathered: gathered.masks,
        unit="count",
        decimals=0,
        higher_is_better=None,
        alone="Images with masks",
    ),
    Figure(
        "pairs",
        "Pairs",
        "count",
        "That pairs of one image are not independent of one another.",
        of=lambda gathered: gathered.attention.pairs,
        unit="count",
        decimals=0,
        higher_is_better=None,
        alone="Pairs of an image and a class",
    ),
)

FIGURES: dict[str, Figure] = {figure.key: figure for figure in _FIGURES}
"""Every figure by its key, in the order in which tables show them."""


def validated(*families: Family) -> tuple[str, ...]:
    """The keys of the figures of these families that training measures at every validation.

    Example:
        >>> validated("segmentation")
        ('accuracy', 'mean_iu')
    """
    return tuple(key for key, figure in FIGURES.items() if figure.validated and figure.family in families)
