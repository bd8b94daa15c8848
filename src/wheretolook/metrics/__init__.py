"""Figures of segmentation, attention and classification: pure functions under metrics that add up over processes."""

from .attention import (
    AttentionFigures,
    AttentionMetric,
    energy_chance,
    energy_inside,
    grid_ceiling,
    iou_at,
    iou_curve,
    pointing_hit,
)
from .classification import ClassificationFigures, ClassificationMetric, average_precisions, f1_scores
from .segmentation import SegmentationFigures, SegmentationMetric, confusion_matrix, segmentation_figures

__all__ = [
    "AttentionFigures",
    "AttentionMetric",
    "ClassificationFigures",
    "ClassificationMetric",
    "SegmentationFigures",
    "SegmentationMetric",
    "average_precisions",
    "confusion_matrix",
    "energy_chance",
    "energy_inside",
    "f1_scores",
    "grid_ceiling",
    "iou_at",
    "iou_curve",
    "pointing_hit",
    "segmentation_figures",
]
