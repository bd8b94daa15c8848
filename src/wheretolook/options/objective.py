"""What is weighed while attention is guided, one group of options a loss, and what the literature leaves open.

The names of the fields of `ObjectiveOptions` that are groups are the names of the losses.
"""

from dataclasses import dataclass, field
from typing import Literal

Method = Literal[
    "grad_cam",
    "cam",
    "hires_cam",
    "layer_cam",
    "grad_cam_plus_plus",
    "xgrad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "rollout",
    "gradient_rollout",
]
# what a method asks of the forward beside the features of a layer: gradients from the pixels on, or the matrices of
# every block of a transformer
OF_PIXELS = frozenset({"input_x_gradient", "integrated_gradients"})
OF_TOKENS = frozenset({"rollout", "gradient_rollout"})
Fusion = Literal["mean", "max"]
ChannelWeights = Literal["constant", "second_order"]
Normalising = Literal["min_max", "max", "none"]
Extremes = Literal["constant", "differentiated"]
Upsampling = Literal["bilinear", "aligned", "features"]
MiningScore = Literal["sigmoid", "logit", "softplus"]
Resolution = Literal["image", "features"]
Erase = Literal["mean", "blur", "shuffle"]
GradientShare = Literal["sum", "share"]


@dataclass(frozen=True)
class ClassificationOptions:
    """Cross-entropy of the class scores.

    Args:
        weight: of this loss in the total; 0 leaves it out.
    """

    weight: float = 1.0


@dataclass(frozen=True)
class MiningOptions:
    """Mining: what the network still recognises of a class once the region that it attends to is erased.

    Args:
        weight: of this loss in the total (alpha in GAIN); 0 leaves it out; none is 1 where nothing else guides and no
            image is annotated. Where some are, and no loss that guides is weighed, what measured best takes its place
            with weight 1: energy for a network that segments, mixed_background for one that only classifies.
        threshold: attention, normalised to [0, 1], at which the soft mask is one half.
        slope: steepness of the soft mask.
        normalising: of a map before it is thresholded: min_max, max only, or none.
        extremes: whether the extremes of a map, by which it is normalised, are constants in the gradient; if so, part
            of the gradient makes the map larger or smaller as a whole, which changes nothing.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
        score: what is minimised of the erased image's logit.
        erase: what stands in place of the attended region: the mean colour, the image itself blurred, or (shuffle)
            another image of the batch that shows none of its classes.
        least_score: mine only classes that the network recognises with at least this probability; 0 for all.
        union: erase the attended regions of all classes of an image at once, which takes one pass an image.
        half_size: pass the erased images at half their size, in a quarter of the time; for networks that take any size.
        updates: all weights that the masked pass uses, or attention: only the path through the mask.
        masked_pass: mode of batch norm and dropout while the masked images pass.
        chunk: masked images at a time; memory grows with it, the result does not change (but for what dropout draws
            where masked_pass is train).
    """

    weight: float | None = None
    threshold: float = 0.5
    slope: float = 10.0
    normalising: Normalising = "min_max"
    extremes: Extremes = "constant"
    upsampling: Upsampling = "bilinear"
    score: MiningScore = "sigmoid"
    erase: Erase = "mean"
    least_score: float = 0.0
    union: bool = False
    half_size: bool = False
    updates: Literal["all", "attention"] = "all"
    masked_pass: Literal["eval", "train"] = "eval"
    chunk: int = 2


@dataclass(frozen=True)
class SquaredOptions:
    """Squared difference of attention and annotation: GAIN's external loss.

    Args:
        weight: of this loss in the total (omega in GAIN); 0 leaves it out.
        reduction: mean over an annotation's pixels, or their sum, as the paper has it.
        resolution: where map and annotation are compared.
        normalising: of a map before it is compared: min_max, max only, or none.
        extremes: whether the extremes of a map, by which it is normalised, are constants in the gradient; if so, a map
            may be made smaller as a whole until it is gone.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
    """

    weight: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    resolution: Resolution = "image"
    normalising: Normalising = "min_max"
    extremes: Extremes = "constant"
    upsampling: Upsampling = "bilinear"


@dataclass(frozen=True)
class EnergyOptions:
    """Energy: the share of attention that falls outside of the annotated object.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        resolution: where map and annotation are compared.
        upsampling: bilinear, or the same with corners aligned.
    """

    weight: float = 0.0
    resolution: Resolution = "image"
    upsampling: Literal["bilinear", "aligned"] = "bilinear"


@dataclass(frozen=True)
class SoftmaxEnergyOptions:
    """Softmax energy: the share of attention outside of the annotated object, of maps before their ReLU.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        temperature: in standard deviations of a map; a lower one asks more of its largest values.
    """

    weight: float = 0.0
    temperature: float = 1.0


@dataclass(frozen=True)
class L1Options:
    """L1: absolute difference of attention and annotation.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        resolution: where map and annotation are compared.
        normalising: of a map before it is compared: min_max, max only, or none.
        extremes: whether the extremes of a map, by which it is normalised, are constants in the gradient; if so, a map
            may be made smaller as a whole until it is gone.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
    """

    weight: float = 0.0
    resolution: Resolution = "image"
    normalising: Normalising = "max"
    extremes: Extremes = "differentiated"
    upsampling: Upsampling = "bilinear"


@dataclass(frozen=True)
class CrossEntropyOptions:
    """Cross-entropy per pixel: attention as the chance that a pixel is the object's.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        outside: ask for no attention outside of the object, too; otherwise attention there costs nothing.
        resolution: where map and annotation are compared.
        normalising: of a map before it is compared: min_max or max only.
        extremes: whether the extremes of a map, by which it is normalised, are constants in the gradient; if so, a map
            may be made smaller as a whole until it is gone.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
    """

    weight: float = 0.0
    outside: bool = False
    resolution: Resolution = "image"
    normalising: Literal["min_max", "max"] = "max"
    extremes: Extremes = "differentiated"
    upsampling: Upsampling = "bilinear"


@dataclass(frozen=True)
class RRRMapsOptions:
    """Right for the right reasons on maps: squared attention outside of the annotated object.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        resolution: where map and annotation are compared.
        normalising: of a map before it is compared: min_max, max only, or none.
        extremes: whether the extremes of a map, by which it is normalised, are constants in the gradient; if so, a map
            may be made smaller as a whole until it is gone.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
    """

    weight: float = 0.0
    resolution: Resolution = "image"
    normalising: Normalising = "max"
    extremes: Extremes = "differentiated"
    upsampling: Upsampling = "bilinear"


@dataclass(frozen=True)
class SizeFairEnergyOptions:
    """Size-fair energy: mean attention beside the annotated object, over that beside and on it.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        resolution: where map and annotation are compared.
        upsampling: bilinear, or the same with corners aligned.
    """

    weight: float = 0.0
    resolution: Resolution = "image"
    upsampling: Literal["bilinear", "aligned"] = "bilinear"


@dataclass(frozen=True)
class MixedBackgroundOptions:
    """Cross-entropy of the class scores once annotated objects stand in front of another image's background.

    Args:
        weight: of this loss in the total; 0 leaves it out. It takes a second pass of the annotated images.
        donors: whose backgrounds they stand in front of: those of other annotated images of the batch, without their
            objects; or those of any, which with few annotations are far more, objects that nobody annotated included.
    """

    weight: float = 0.0
    donors: Literal["annotated", "any"] = "annotated"


@dataclass(frozen=True)
class InputGradientsOptions:
    """Right for the right reasons: the squared gradient of what is said of an image, outside of all annotated objects.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        share: the sum over pixels, as the paper has it, or its share of the squared gradient of all annotated pixels.
    """

    weight: float = 0.0
    share: GradientShare = "sum"


@dataclass(frozen=True)
class RobustGradientsOptions:
    """Right for the right reasons in a neighbourhood: the same at the worst of some changes of what does not matter.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        share: the sum over pixels, or its share of the squared gradient of all annotated pixels.
        epsilon: largest change of a pixel, of images in [0, 1].
        samples: changes drawn at random, beside that of none; each costs a pass through the network and back.
        ascent: steps from each of them towards a larger loss; each costs about three passes.
    """

    weight: float = 0.0
    share: GradientShare = "sum"
    epsilon: float = 0.1
    samples: int = 1
    ascent: int = 1


@dataclass(frozen=True)
class ResOptions:
    """RES: attention against drawings that are not exact, with slack and blur, at feature resolution.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        slack: how far cells may be on the wrong side of the threshold, on average, for nothing; at most 2.
        blur: of the drawing, a standard deviation in cells; 0 for none.
    """

    weight: float = 0.0
    slack: float = 0.0
    blur: float = 0.8


@dataclass(frozen=True)
class SeparabilityOptions:
    """Separability: overlap of a class's map with that of the most confusing class; needs no annotation.

    Args:
        weight: of this loss in the total; 0 leaves it out.
        threshold: share of a map's maximum from which on overlap counts.
        slope: steepness there.
    """

    weight: float = 0.0
    threshold: float = 0.55
    slope: float = 100.0


@dataclass(frozen=True)
class LayerConsistencyOptions:
    """Consistency across layers: attention of earlier layers where the last layer's is small; needs no annotation.

    Args:
        weight: of this loss in the total; 0 leaves it out. For attention of several layers (network.layer); of one
            layer, its own map stands for both.
        threshold: share of the last layer's maximum from which on its attention counts.
        slope: steepness there.
    """

    weight: float = 0.0
    threshold: float = 0.55
    slope: float = 100.0


@dataclass(frozen=True)
class AttentionDistillationOptions:
    """Attention distillation: keep the maps that the network had when the stage began.

    Args:
        weight: of this loss in the total; 0 leaves it out. The earlier network takes a pass without gradients, and its
            memory.
        least_inside: only of pairs whose earlier map has at least this share of its energy on the annotated object; 0
            for all pairs, annotated or not.
    """

    weight: float = 0.0
    least_inside: float = 0.0


@dataclass(frozen=True)
class SegmentationOptions:
    """Cross-entropy of each pixel.

    Args:
        weight: of this loss in the total; 0 leaves it out; none is 1.5 for a network that segments, 0 for one that only
            classifies.
    """

    weight: float | None = None


@dataclass(frozen=True)
class ObjectiveOptions:
    """The guided objective: the weighted sum of these losses.

    Args:
        classification: the classes that an image shows.
        mining: what is left of a class's score once its attended region is erased.
        squared: squared difference of attention and annotation.
        energy: attention outside of the annotation.
        softmax_energy: energy of a softmax over positions, which also moves maps that are all zero.
        size_fair_energy: energy of means in place of sums, fair to small objects.
        l1: absolute difference of attention and annotation.
        cross_entropy: attention as the chance that a pixel is the object's.
        rrr_maps: squared attention outside of the annotation.
        mixed_background: the classes that an image shows, recognised in front of another's background.
        input_gradients: what is said of an image must not change with pixels outside of the annotation.
        robust_gradients: input_gradients at the worst of some changes of these pixels.
        res: attention against drawings that are not exact.
        separability: overlap with the map of the most confusing class.
        layer_consistency: attention of earlier layers beside that of the last.
        attention_distillation: change of the maps since the stage began.
        segmentation: the class of each pixel.
        freeze_classifier: keep the classifier as it is, or let it train along.
        channel_weights: those of the maps are constants in the graph, or differentiated too (second order).
        warmup: share of the steps over which the weights of losses that look at attention rise from 0; 0 for none.
        off_after: share of the steps after which these weights are 0, so that the rest trains alone; 1 for never.
        classes_per_image: how many present classes of an image to guide, drawn at random; none for all.
    """

    classification: ClassificationOptions = field(default_factory=ClassificationOptions)
    mining: MiningOptions = field(default_factory=MiningOptions)
    squared: SquaredOptions = field(default_factory=SquaredOptions)
    energy: EnergyOptions = field(default_factory=EnergyOptions)
    softmax_energy: SoftmaxEnergyOptions = field(default_factory=SoftmaxEnergyOptions)
    size_fair_energy: SizeFairEnergyOptions = field(default_factory=SizeFairEnergyOptions)
    l1: L1Options = field(default_factory=L1Options)
    cross_entropy: CrossEntropyOptions = field(default_factory=CrossEntropyOptions)
    rrr_maps: RRRMapsOptions = field(default_factory=RRRMapsOptions)
    mixed_background: MixedBackgroundOptions = field(default_factory=MixedBackgroundOptions)
    input_gradients: InputGradientsOptions = field(default_factory=InputGradientsOptions)
    robust_gradients: RobustGradientsOptions = field(default_factory=RobustGradientsOptions)
    res: ResOptions = field(default_factory=ResOptions)
    separability: SeparabilityOptions = field(default_factory=SeparabilityOptions)
    layer_consistency: LayerConsistencyOptions = field(default_factory=LayerConsistencyOptions)
    attention_distillation: AttentionDistillationOptions = field(default_factory=AttentionDistillationOptions)
    segmentation: SegmentationOptions = field(default_factory=SegmentationOptions)
    freeze_classifier: bool = True
    channel_weights: ChannelWeights = "constant"
    warmup: float = 0.0
    off_after: float = 1.0
    classes_per_image: int | None = None
