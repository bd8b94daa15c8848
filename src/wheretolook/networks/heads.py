"""The classifier that makes a segmenter's features answer for classes, so that they have attention maps."""

import math

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
        self.widths = widths
        self.fc6_cl = nn.Linear(channels, widths[0])
        self.fc7_cl = nn.Linear(widths[0], widths[1])
        self.score_cl = nn.Linear(widths[1], classes)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self, seed: int) -> None:
        """Start afresh from a seed (He initialisation, biases at zero); the global random state is left alone."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.fc6_cl, self.fc7_cl, self.score_cl):
            drawn = torch.empty(layer.weight.shape)
            nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                layer.weight.copy_(drawn)  # drawn on the CPU: the same on every device
                layer.bias.zero_()

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


def pooled_scores(mask_scores: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
    """Class scores of a segmenter that has no classifier: how sure it is of each class, over the whole image.

        s_c = log of the mean over pixels of exp(m_c - log of the sum over the other channels of exp(m))

    which is the logit of a class at each pixel, as the softmax has it, pooled softly: a few pixels that are very sure
    count as much as many that are a little.

    Args:
        mask_scores: logits; channel 0 is background, which gets no class score.
    """
    scores = mask_scores.to(torch.promote_types(mask_scores.dtype, torch.float32))
    top = torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argmax(dim=1, keepdim=True), True)
    # the sum over the others, without cancelling: what is not the largest has at most half of the whole
    whole = scores.logsumexp(dim=1, keepdim=True)
    share = (scores - whole).exp().masked_fill(top, 0)
    rest = scores.masked_fill(top, -torch.inf).logsumexp(dim=1, keepdim=True)
    others = torch.where(top, rest, whole + torch.log1p(-share))
    odds = (scores - others)[:, 1:].flatten(2)
    pixels = odds.shape[2]
    if not isinstance(pixels, int):  # a graph is being traced, for images of any size
        return odds.logsumexp(dim=2) - torch.ones_like(odds[:1, :1]).sum(dim=2).log()
    return odds.logsumexp(dim=2) - math.log(pixels)
