"""Figures of segmentation, classification and attention, summed over processes; each is described once."""

from .attention import (
    AttentionFigures,
    AttentionMetric,
    PairMeans,
    energy_chance,
    energy_inside,
    grid_ceiling,
    iou_at,
    iou_curve,
    pointing_hit,
    precision_at,
    recall_at,
)
from .classification import (
    ClassificationFigures,
    ClassificationMetric,
    average_precisions,
    classification_figures,
    correct_images,
    f1_scores,
)
from .figures import FIGURES, Figure, Gathered
from .marks import MarkFigures, MarkMetric
from .segmentation import SegmentationFigures, SegmentationMetric, confusion_matrix, segmentation_figures

__all__ = [
    "FIGURES",
    "AttentionFigures",
    "AttentionMetric",
    "ClassificationFigures",
    "ClassificationMetric",
    "Figure",
    "Gathered",
    "MarkFigures",
    "MarkMetric",
    "PairMeans",
    "SegmentationFigures",
    "SegmentationMetric",
    "average_precisions",
    "classification_figures",
    "confusion_matrix",
    "correct_images",
    "energy_chance",
    "energy_inside",
    "f1_scores",
    "grid_ceiling",
    "iou_at",
    "iou_curve",
    "pointing_hit",
    "precision_at",
    "recall_at",
    "segmentation_figures",
]
