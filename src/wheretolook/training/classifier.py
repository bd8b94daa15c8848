"""Stage 1: train the classifier on features that stay as they are."""

from torch import nn

from wheretolook.losses.objective import average_images, classification_loss, weighted
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import Batch, ObjectiveTerms
from wheretolook.training.stage import Stage

CLASSIFICATION_ONLY = ObjectiveOptions(1.0, 0.0, 0.0, 0.0)


class ClassifierStage(Stage):
    """The classifier's parameters and only they change; the convolutions are frozen."""

    shown = ("map", "f1", "energy_pointing", "attention_iou")
    score = ("map",)

    def trained_modules(self) -> list[nn.Module]:
        """The classifier."""
        return [self.network.classifier]

    def terms(self, batch: Batch) -> ObjectiveTerms:
        """The classification loss alone."""
        output = self.network(self.network.preprocessing(batch.images), segment=False)
        classification = average_images(classification_loss(output.class_scores, batch.labels))
        zero = classification.new_zeros(())
        return weighted(CLASSIFICATION_ONLY, classification, zero, zero, zero)
