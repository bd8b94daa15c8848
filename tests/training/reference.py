"""The guided objective once more, written plainly: one image and one class at a time, and autograd throughout."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from wheretolook.losses.objective import LOSSES
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import VOID, Batch

Terms = dict[str, Tensor]


def reference_terms(
    network: nn.Module, config: ObjectiveOptions, batch: Batch, earlier: nn.Module | None = None
) -> Terms:
    """Each loss that is weighed, unweighted, and `total`."""
    images = network.preprocessing(batch.images)
    weights = {name: weight for name in LOSSES if (weight := getattr(config, name).weight)}
    found: dict[str, list[Tensor]] = {name: [] for name in weights}
    for number in range(len(images)):
        image, mask, labels = images[number : number + 1], batch.masks[number], batch.labels[number]
        output = network(image)
        present = labels.nonzero().flatten().tolist()
        signed = {index: attention(output, index, config) for index in present}
        maps = {index: torch.where(small > 0, small, 0) for index, small in signed.items()}
        shown = [index for index in present if (mask == 1 + index).any()]
        for name, values in found.items():
            if name == "classification":
                values.append(classification(output.class_scores[0], labels))
            elif name == "mining":
                values.append(mining(network, config, image, output.class_scores[0], maps))
            elif name == "segmentation":
                if batch.segmented[number] and (mask != VOID).any():
                    values.append(segmentation(output.mask_scores[0], mask))
            elif name == "separability":
                if 0 < len(present) < len(labels):
                    values.append(mean([separability(config, output, labels, maps[index]) for index in present]))
            elif name == "layer_consistency":
                if present:
                    values.append(mean([consistency(config, maps[index]) for index in present]))
            elif name == "attention_distillation":
                losses = [distillation(config, earlier, image, mask, index, maps[index]) for index in present]
                if any(loss is not None for loss in losses):
                    values.append(mean([loss for loss in losses if loss is not None]))
            elif name in GRADIENTS:
                if present and shown == present:
                    values.append(GRADIENTS[name](network, config, batch, number))
            elif shown:
                small = signed if name in SIGNED else maps
                values.append(mean([COMPARED[name](config, small[index], mask, 1 + index) for index in shown]))
    means = {name: mean(values) for name, values in found.items()}
    return {**means, "total": sum(weights[name] * means[name] for name in means)}


def mean(values: list[Tensor]) -> Tensor:
    return sum(values) / len(values) if values else torch.zeros((), dtype=torch.float64)


def attention(output, index: int, config: ObjectiveOptions) -> Tensor:
    """Equations 1 and 2, without the ReLU."""
    curved = config.channel_weights == "second_order"
    (gradient,) = torch.autograd.grad(
        output.class_scores[0, index], output.features, retain_graph=True, create_graph=curved
    )
    weights = gradient[0].sum(dim=(1, 2)) / gradient[0, 0].numel()
    weights = weights if curved else weights.detach()
    total = torch.zeros_like(output.features[0, 0])
    for weight, feature in zip(weights, output.features[0], strict=True):
        total = total + weight * feature
    return total


def stretched(small: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """Bilinear interpolation as two matrices of hat functions."""
    return hats(size[0], small.shape[0], how) @ small @ hats(size[1], small.shape[1], how).T


def hats(large: int, small: int, how: str) -> Tensor:
    places = torch.arange(large, dtype=torch.float64)
    places = places * (small - 1) / (large - 1) if how == "aligned" else (places + 0.5) * small / large - 0.5
    distances = (places.clamp(0, small - 1)[:, None] - torch.arange(small, dtype=torch.float64)).abs()
    return (1 - distances).clamp(min=0)


def normal(values: Tensor, how: str, extremes: str = "constant") -> Tensor:
    if how == "none":
        return values
    source = values.detach() if extremes == "constant" else values
    low = source.min() if how == "min_max" else 0.0
    high = source.max()
    return (values - low) / (high - low) if high > low else 0 * values


def mining(
    network: nn.Module, config: ObjectiveOptions, image: Tensor, scores: Tensor, maps: dict[int, Tensor]
) -> Tensor:
    """Equations 3 to 5, class by class."""
    options, size = config.mining, (image.shape[2], image.shape[3])
    masks = {}
    for index, small in maps.items():
        if torch.sigmoid(scores[index]) < options.least_score:
            continue
        if options.upsampling == "features":
            large = stretched(normal(small, options.normalising, options.extremes), size, "bilinear")
        else:
            large = normal(stretched(small, size, options.upsampling), options.normalising, options.extremes)
        masks[index] = 1 / (1 + torch.exp(-options.slope * (large - options.threshold)))
    if options.union:
        left = torch.ones(size, dtype=torch.float64)
        for mask in masks.values():
            left = left * (1 - mask)
        masks = dict.fromkeys(masks, 1 - left)
    if options.updates == "attention":
        network = deepcopy(network).requires_grad_(False)
    background = torch.zeros_like(image)
    if options.erase == "blur":
        down, across = (gaussian(side, min(size) / 16) for side in size)
        background = torch.einsum("yv,bcvu,xu->bcyx", down, image, across)
    losses = []
    for index, mask in masks.items():
        logit = network(image - mask * (image - background), segment=False).class_scores[0, index]
        losses.append(
            {"logit": logit, "sigmoid": 1 / (1 + torch.exp(-logit)), "softplus": torch.log(1 + torch.exp(logit))}[
                options.score
            ]
        )
    return mean(losses)


def gaussian(side: int, deviation: float) -> Tensor:
    rows = [[math.exp(-((a - b) ** 2) / 2 / deviation**2) for b in range(side)] for a in range(side)]
    return torch.tensor([[weight / sum(row) for weight in row] for row in rows], dtype=torch.float64)


def compared(options, small: Tensor, mask: Tensor, value: int) -> tuple[Tensor, Tensor, Tensor]:
    """Map, target and weight (0 or 1) at the resolution that the options name."""
    target, valid = (mask == value).double(), (mask != VOID).double()
    how = getattr(options, "normalising", "none"), getattr(options, "extremes", "constant")
    if options.resolution == "features":
        return normal(small, *how), *on_cells(target, valid, small.shape)
    if options.upsampling == "features":
        return stretched(normal(small, *how), tuple(mask.shape), "bilinear"), target, valid
    return normal(stretched(small, tuple(mask.shape), options.upsampling), *how), target, valid


def squared(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    """Equation 7."""
    large, target, valid = compared(config.squared, small, mask, value)
    squares = ((large - target) ** 2 * valid).sum()
    return squares if config.squared.reduction == "sum" else squares / valid.sum()


def energy(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    """What of the map's sum lies outside."""
    large, target, valid = compared(config.energy, small, mask, value)
    total = (large * valid).sum()
    return 1 - (large * valid * target).sum() / total if total > 0 else 1 + 0 * large.sum()


def size_fair_energy(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    """By the odds of attention inside, over those of the area."""
    large, target, valid = compared(config.size_fair_energy, small, mask, value)
    if not (large * valid).any():
        return 1 + 0 * large.sum()
    share, area = (large * valid * target).sum() / (large * valid).sum(), (valid * target).sum() / valid.sum()
    if area == 1:
        return 0 * share
    if share == 1:
        return 0 * large.sum()
    odds = share / (1 - share) * (1 - area) / area
    return 1 / (1 + odds)


def l1(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    large, target, valid = compared(config.l1, small, mask, value)
    return torch.maximum(large - target, target - large)[valid > 0].mean()


def cross_entropy(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    large, target, valid = compared(config.cross_entropy, small, mask, value)
    inside, outside = (torch.log(0.001 + 0.999 * chance[valid > 0]) for chance in (large, 1 - large))
    target = target[valid > 0]
    if config.cross_entropy.outside:
        return -(inside * target + outside * (1 - target)).mean()
    return -(inside * target).sum() / target.sum()


def rrr_maps(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    large, target, valid = compared(config.rrr_maps, small, mask, value)
    return ((1 - target) * large**2)[valid > 0].mean()


def softmax_energy(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    """Cell by cell, and without shifting anything before the exponential."""
    target, valid = on_cells((mask == value).double(), (mask != VOID).double(), small.shape)
    known = [small[place] for place in zip(*valid.nonzero(as_tuple=True), strict=True)]
    shares = [target[place] for place in zip(*valid.nonzero(as_tuple=True), strict=True)]
    spread = torch.stack(known).std(correction=0).item()
    chances = [torch.exp(one / (config.softmax_energy.temperature * spread)) for one in known]
    return 1 - sum(chance * share for chance, share in zip(chances, shares, strict=True)) / sum(chances)


def on_cells(target: Tensor, valid: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    counts, covered = cells(valid, grid), cells(target * valid, grid)
    return covered / counts.clamp(min=1), (counts > 0).double()


def cells(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sums over the blocks of pixels that the cells of a grid are made of."""
    height, width = pixels.shape[0] // grid[0], pixels.shape[1] // grid[1]
    return pixels.reshape(grid[0], height, grid[1], width).sum(dim=(1, 3))


def segmentation(scores: Tensor, mask: Tensor) -> Tensor:
    chances = torch.exp(scores) / torch.exp(scores).sum(dim=0)
    losses = [-torch.log(chances[value][mask == value]) for value in range(len(scores))]
    return torch.cat(losses).mean()


def separability(config: ObjectiveOptions, output, labels: Tensor, small: Tensor) -> Tensor:
    options = config.separability
    absent = {score.item(): index for index, score in enumerate(output.class_scores[0]) if not labels[index]}
    rival = attention(output, absent[max(absent)], config)
    mask = 1 / (1 + torch.exp(-options.slope * (normal(small, "max") - options.threshold)))
    overlap, total = torch.zeros_like(mask), torch.zeros_like(mask)
    for place in torch.cartesian_prod(*(torch.arange(side) for side in small.shape)):
        one, other = small[*place], rival[*place] if rival[*place] > 0 else 0 * rival[*place]
        overlap[*place], total[*place] = one if one < other else other, one + other
    return 2 * (overlap * mask).sum() / total.sum() if total.any() else 0 * total.sum()


def consistency(config: ObjectiveOptions, small: Tensor) -> Tensor:
    """Of one layer, which is the last as well: what of its map lies where the map itself is small."""
    options = config.layer_consistency
    seen = 1 / (1 + torch.exp(-options.slope * (normal(small.detach(), "max") - options.threshold)))
    return 1 - (seen * small).sum() / small.sum() if small.any() else 1 + 0 * small.sum()


def distillation(config: ObjectiveOptions, earlier, image: Tensor, mask: Tensor, index: int, small: Tensor):
    """None where the earlier map was not right enough."""
    least = config.attention_distillation.least_inside
    old = attention(earlier(image), index, config).clamp(min=0).detach()
    if least:
        target, valid = on_cells((mask == 1 + index).double(), (mask != VOID).double(), small.shape)
        if not (target * old).any() or (old * target * valid).sum() / (old * valid).sum() < least:
            return None
    one, other = (maps / maps.square().sum().sqrt() if maps.any() else 0 * maps for maps in (small, old))
    return torch.maximum(one - other, other - one).sum()


def res(config: ObjectiveOptions, small: Tensor, mask: Tensor, value: int) -> Tensor:
    """Cell by cell; the threshold by trying every covered cell's value, from the largest down."""
    cover, valid = on_cells((mask == value).double(), (mask != VOID).double(), small.shape)
    attended = normal(small, "min_max", "differentiated")
    known = [tuple(place) for place in valid.nonzero().tolist()]
    covered = [place for place in known if cover[place] > 0 and cover[place] >= cover.max() / 2]
    bare = [place for place in known if cover[place] == 0]
    best, threshold = -2.0, 0.0
    for candidate in sorted({attended[place].item() for place in covered}, reverse=True):
        found = sum(attended[place].item() >= candidate for place in covered) / len(covered)
        wrong = sum(attended[place].item() >= candidate for place in bare) / max(len(bare), 1)
        if found - wrong > best + 1e-9:
            best, threshold = found - wrong, candidate
    sides = [abs(torch.tanh(5 * (attended[place] - threshold)) - 1) for place in covered]
    sides += [abs(torch.tanh(5 * (attended[place] - threshold)) + 1) for place in bare]
    drawn = torch.zeros_like(cover)
    rows, columns = cover.shape
    for y in range(rows):
        for x in range(columns):
            weights = {
                (v, u): math.exp(-((v - y) ** 2 + (u - x) ** 2) / 2 / config.res.blur**2)
                for v in range(rows)
                for u in range(columns)
            }
            drawn[y, x] = sum(weights[place] for place in covered) / sum(weights.values())
    drawn = drawn / drawn.max()
    apart = [abs(attended[place] - drawn[place]) for place in known]
    return torch.relu(mean(sides) - config.res.slack) + mean(apart)


def gradient_outside(network: nn.Module, image: Tensor, mask: Tensor, labels: Tensor, share: str) -> Tensor:
    """By the slope of log(p (1 - p)), which is 1 - 2 p, and the gradients of the scores one by one."""
    images = network.preprocessing(image[None])
    images = images if images.requires_grad else images.requires_grad_()
    total = torch.zeros_like(images)
    for score in network(images).class_scores[0]:
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        total = total + (1 - 2 / (1 + torch.exp(-score))) * gradient
    values = [1 + index for index in labels.nonzero().flatten().tolist()]
    inside = sum((mask == value).double() for value in values)
    outside = (1 - inside) * (mask != VOID)
    squares = (total[0] ** 2).sum(dim=0)
    if share == "sum":
        return (squares * outside).sum()
    return (squares * outside).sum() / (squares * (outside + inside)).sum()


def input_gradients(network: nn.Module, config: ObjectiveOptions, batch: Batch, number: int) -> Tensor:
    options = config.input_gradients
    return gradient_outside(network, batch.images[number], batch.masks[number], batch.labels[number], options.share)


def robust_gradients(network: nn.Module, config: ObjectiveOptions, batch: Batch, number: int) -> Tensor:
    """From the image itself uphill; where that is no worse, at the image itself."""
    options = config.robust_gradients
    image, mask, labels = batch.images[number], batch.masks[number], batch.labels[number]
    irrelevant = (mask == 0).double()
    place = image.clone()
    for _ in range(options.ascent):
        place = place.detach().requires_grad_()
        (slope,) = torch.autograd.grad(gradient_outside(network, place, mask, labels, options.share), place)
        place = place.detach() + 2 * options.epsilon / options.ascent * irrelevant * slope.sign()
        place = image + (place - image).clamp(-options.epsilon, options.epsilon)
    losses = [gradient_outside(network, one.detach(), mask, labels, options.share) for one in (image, place)]
    return max(losses)


def classification(scores: Tensor, labels: Tensor) -> Tensor:
    losses = [-torch.log(torch.sigmoid(s if present else -s)) for s, present in zip(scores, labels, strict=True)]
    return sum(losses) / len(losses)


COMPARED = {
    "squared": squared,
    "energy": energy,
    "softmax_energy": softmax_energy,
    "size_fair_energy": size_fair_energy,
    "l1": l1,
    "cross_entropy": cross_entropy,
    "rrr_maps": rrr_maps,
    "res": res,
}
SIGNED = {"softmax_energy", "res"}
OTHERS = ("separability", "layer_consistency", "attention_distillation")
GRADIENTS = {"input_gradients": input_gradients, "robust_gradients": robust_gradients}
