"""The classifier that makes a segmenter's features answer for classes, so that they have attention maps."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.records import GuidedOutput


class PooledClassifier(nn.Module):
    """Max-pool, mean over positions, then (fully connected, ReLU, dropout) twice, then the class scores.

    Source: the predecessor; arXiv:1802.10171 section 3.1 asks for a classification stream on the last convolution.
    """

    def __init__(self, channels: int, widths: tuple[int, int], classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.fc6_cl = nn.Linear(channels, widths[0])
        self.fc7_cl = nn.Linear(widths[0], widths[1])
        self.score_cl = nn.Linear(widths[1], classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        """Logits of the foreground classes."""
        pooled = F.max_pool2d(features, 2, 2, ceil_mode=True).mean(dim=(2, 3))
        hidden = self.dropout(F.relu(self.fc6_cl(pooled)))
        hidden = self.dropout(F.relu(self.fc7_cl(hidden)))
        scores: Tensor = self.score_cl(hidden)
        return scores


def classify(classifier: nn.Module, features: Float[Tensor, "batch channels h w"]) -> GuidedOutput:
    """Run the classifier so that attention maps can be taken from the result, whatever the mode of the caller.

    Where gradients are off, or nothing before the features wants one, the features become a leaf and the classifier
    alone runs with gradients on: maps then also work for a frozen network, in `no_grad` and in `inference_mode`, and
    cost no trunk memory. The classifier runs in its own precision: maps in half precision would be coarse.
    """
    dtype = next(classifier.parameters()).dtype
    differentiable = torch.is_grad_enabled() and features.requires_grad
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
        # a clone, since what was made in inference mode can never join a graph
        features = features.to(dtype) if differentiable else features.clone().detach().to(dtype).requires_grad_()
        return GuidedOutput(classifier(features), features, None, differentiable)
