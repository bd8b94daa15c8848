"""Small networks on which attention can be worked out by other means."""

from torch import Tensor, nn

from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.heads import PooledClassifier, classify
from wheretolook.records import GuidedOutput


def smooth_classifier(channels: int, classes: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Mean over positions, then layers that bend (or do not) everywhere; float64."""
    layers = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 6), activation(), nn.Linear(6, classes))
    return nn.Sequential(*layers).double()


def output_of(classifier: nn.Module, features: Tensor) -> GuidedOutput:
    return GuidedOutput(classifier(features), features)


class Plain(nn.Module):
    """An ordinary torch network that knows nothing of us: convolutions, then a classifier."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 3, stride=2), nn.ReLU())
        self.classifier = PooledClassifier(6, (8, 7), classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.trunk(images))

    def guided(self, images: Tensor) -> GuidedOutput:
        return classify(self.classifier, self.trunk(images))


def narrow(classes: int = 4) -> FCN8s:
    names = tuple(f"class {index}" for index in range(classes))
    return FCN8s(names, widths=(3, 4, 5, 6, 7), segmenter_width=8, classifier_widths=(9, 10)).eval()
