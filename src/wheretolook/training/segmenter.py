"""Stage 0: train the segmenter, where no trained one is at hand."""

from torch import nn

from wheretolook.losses.objective import weighted
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import Batch, ObjectiveTerms
from wheretolook.training.stage import Stage, segmentation_term

SEGMENTATION_ONLY = ObjectiveOptions(0.0, 0.0, 0.0, 1.0)


class SegmenterStage(Stage):
    """Trunk and segmenter learn the masks; the classifier is left alone."""

    shown = ("accuracy", "mean_iu")
    score = ("mean_iu",)
    wants_masks = True

    def trained_modules(self) -> list[nn.Module]:
        """Trunk and segmenter."""
        assert self.network.segmenter is not None
        return [self.network.trunk, self.network.segmenter]

    def terms(self, batch: Batch) -> ObjectiveTerms:
        """The segmentation loss alone, over the images whose masks are exact."""
        output = self.network(self.network.preprocessing(batch.images))
        segmentation = segmentation_term(output, batch)
        zero = segmentation.new_zeros(())
        return weighted(SEGMENTATION_ONLY, zero, zero, zero, segmentation)
