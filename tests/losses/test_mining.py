"""Mining: closed forms, the predecessor's gradients, and a sum in parts that is the sum."""

import math
import weakref
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from wheretolook.attention.maps import image_maps
from wheretolook.attention.methods import pair_maps
from wheretolook.losses.mining import (
    Run,
    donors,
    fillings,
    masked_images,
    mining,
    mining_loss,
    soft_mask,
    soft_masks,
    sum_in_chunks,
    sure_pairs,
)
from wheretolook.networks.fcn.network import FCN
from wheretolook.records import collate

from ..golden.values import difference, golden_network, golden_values
from ..training.made import guided_stage, made_batch, made_samples, sample, weighing


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("threshold", "slope"), [(0.5, 10.0), (0.3, 4.0)])
def test_the_soft_mask_is_a_sigmoid_of_the_distance_to_the_threshold(threshold, slope):
    maps = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    masks = soft_mask(maps, threshold, slope)
    expected = [sigmoid(slope * (value - threshold)) for value in maps.flatten().tolist()]
    torch.testing.assert_close(masks.flatten(), torch.tensor(expected, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(masks.sum(), maps)
    torch.testing.assert_close(gradient, slope * masks * (1 - masks))


def test_erasing_leaves_what_the_mask_does_not_cover():
    images = torch.randn(2, 3, 2, 2)
    masks = torch.tensor([[[0.0, 1.0], [0.25, 0.5]], [[1.0, 1.0], [1.0, 1.0]]])
    erased = masked_images(images, masks)
    assert torch.equal(erased[0, :, 0, 0], images[0, :, 0, 0]) and torch.equal(erased[1], torch.zeros(3, 2, 2))
    torch.testing.assert_close(erased[0, :, 1, 0], 0.75 * images[0, :, 1, 0])
    torch.testing.assert_close(erased[0, :, 1, 1], 0.5 * images[0, :, 1, 1])


def test_a_filling_stands_where_the_mask_erases():
    images, filling = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    masks = torch.tensor([[[0.0, 1.0], [0.25, 0.5]], [[1.0, 1.0], [1.0, 1.0]]])
    erased = masked_images(images, masks, filling)
    assert torch.equal(erased[0, :, 0, 0], images[0, :, 0, 0]) and torch.equal(erased[1], filling[1])
    torch.testing.assert_close(erased[0, :, 1, 0], 0.75 * images[0, :, 1, 0] + 0.25 * filling[0, :, 1, 0])
    torch.testing.assert_close(masked_images(images, masks, 0 * filling), masked_images(images, masks))


def test_what_is_shuffled_in_shows_none_of_the_images_classes():
    """Six images of three, one, two, two, no and one classes; the last is followed by the first."""
    step = guided_stage({}).forward_step(made_batch())
    others, labels = donors(step.batch.labels), step.batch.labels
    for image, other in enumerate(others.tolist()):
        free = [(image + far) % 6 for far in range(1, 6) if not (labels[image] & labels[(image + far) % 6]).any()]
        assert other == (free[0] if free else -1)
    found = fillings(step, "shuffle")
    assert found is not None
    torch.testing.assert_close(found[0], step.images[4])  # only the empty image shares nothing with the first
    alone = guided_stage({}).forward_step(collate(made_samples()[:1]))
    assert not fillings(alone, "shuffle").any() and fillings(alone, "mean") is None


def test_a_constant_image_is_its_own_blur():
    step = guided_stage({}).forward_step(made_batch())
    even = replace(step, images=torch.full_like(step.images, 0.7))
    torch.testing.assert_close(fillings(even, "blur"), even.images)
    spread = fillings(step, "blur").flatten(2).std(dim=2) / step.images.flatten(2).std(dim=2)
    assert (spread < 0.5).all()


def test_mining_with_another_images_pixels_is_that_of_the_images_made_by_hand():
    stage = guided_stage(weighing(mining=1.0))
    step = stage.forward_step(made_batch())
    options = replace(stage.objective.mining, erase="shuffle")
    masks, filling = soft_masks(step, options, step.images.shape[2:]), fillings(step, "shuffle")
    losses: dict[int, list[Tensor]] = {image: [] for image in range(6)}
    for mask, (image, index) in zip(masks, step.pairs.tolist(), strict=True):
        shown = step.images[image] * (1 - mask) + filling[image] * mask
        losses[image].append(step.network(shown[None]).class_scores[0, index].sigmoid())
    expected = sum(sum(values) / max(len(values), 1) for values in losses.values()) / 6
    torch.testing.assert_close(mining(step, options), expected)
    assert (mining(step, options) - mining(step, stage.objective.mining)).abs() > 1e-4


@pytest.mark.parametrize("exclusive", [True, False])
def test_only_what_the_network_is_sure_of_is_mined(exclusive: bool):
    batch = collate([sample("one", (1,)), sample("two", (2,))])._replace(exclusive=exclusive)
    step = guided_stage({}).forward_step(batch)
    scores = torch.tensor([[-9.0, 0.1, -9.0], [3.0, -9.0, 1.0]], dtype=torch.float64)
    step = replace(step, output=step.output._replace(class_scores=scores))
    assert sure_pairs(step, 0.6).tolist() == [exclusive, not exclusive]  # of a softmax, or of a sigmoid
    options = replace(guided_stage({}).objective.mining, least_score=1.0)
    nothing = mining(step, options)
    nothing.backward()
    assert nothing == 0


def test_erased_images_may_pass_at_half_their_size():
    small = made_batch()

    def large(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    batch = small._replace(images=large(small.images), masks=large(small.masks), targets=large(small.targets))
    stage = guided_stage(weighing(mining=1.0))
    step = stage.forward_step(batch)
    masks = soft_masks(step, stage.objective.mining, step.images.shape[2:])
    losses: dict[int, list[Tensor]] = {image: [] for image in range(6)}
    for mask, (image, index) in zip(masks, step.pairs.tolist(), strict=True):
        erased = step.images[image] * (1 - mask)
        halved = sum(erased[:, down::2, across::2] for down in (0, 1) for across in (0, 1)) / 4
        losses[image].append(step.network(halved[None]).class_scores[0, index].sigmoid())
    expected = sum(sum(values) / max(len(values), 1) for values in losses.values()) / 6
    torch.testing.assert_close(mining(step, replace(stage.objective.mining, half_size=True)), expected)


def test_a_union_takes_one_pass_an_image(monkeypatch: pytest.MonkeyPatch):
    stage = guided_stage(weighing(mining=1.0))
    seen: list[int] = []
    forward = type(stage.network).forward
    monkeypatch.setattr(
        type(stage.network),
        "forward",
        lambda self, images, **options: seen.append(len(images)) or forward(self, images, **options),
    )
    step = stage.forward_step(made_batch())
    for union, passes in ((False, 9), (True, 5)):
        seen.clear()
        mining(step, replace(stage.objective.mining, union=union))
        assert sum(seen) == passes


@pytest.mark.parametrize(
    ("score", "of"), [("sigmoid", sigmoid), ("logit", lambda x: x), ("softplus", lambda x: math.log(1 + math.exp(x)))]
)
def test_what_is_left_of_a_pairs_own_class_is_what_counts(score, of):
    scores, classes = torch.tensor([[-1.0, 2.0, 9.0], [0.5, 9.0, 9.0]]), torch.tensor([1, 0])
    torch.testing.assert_close(mining_loss(scores, classes, score), torch.tensor([of(2.0), of(0.5)]))


# --- the predecessor's gradients -----------------------------------------------------------------------------------


def left_over(network: FCN, golden: dict[str, Tensor], *, slope: float = 8.0, attend: bool = True) -> Tensor:
    """Each class's probability once its attended region is erased, all as the predecessor has it."""
    classes = golden["classes"]
    pairs = torch.stack([torch.zeros_like(classes), classes], dim=1)
    maps = pair_maps(network(golden["image"]), pairs, differentiable=True)
    masks = soft_mask(image_maps(maps, (64, 80), upsampling="aligned"), 0.5, slope)
    erased = masked_images(golden["image"].expand(len(pairs), -1, -1, -1), masks if attend else masks.detach())
    return mining_loss(network(erased, segment=False).class_scores, classes)


def worst_gradient(network: FCN, golden: dict[str, Tensor], values: Tensor) -> float:
    """The largest deviation of any class's gradient at an early, a middle and the last convolution."""
    found = []
    for layer in ("conv1_1", "conv3_2", "conv5_3"):
        weight = network.trunk.get_submodule(layer).weight
        gradients = [torch.autograd.grad(value, weight, retain_graph=True)[0] for value in values]
        found.append(difference(torch.stack(gradients), golden[f"mining_grad_{layer}"]))
    return max(found)


def test_the_gradient_through_mask_and_masked_pass_is_the_predecessors():
    golden, network = golden_values(), golden_network()
    values = left_over(network, golden)
    expected = golden["masked_probability"][range(3), golden["classes"]]
    torch.testing.assert_close(values.detach(), expected, rtol=1e-4, atol=1e-4)
    assert worst_gradient(network, golden, values) <= 1e-3
    assert worst_gradient(network, golden, left_over(network, golden, slope=10.0)) > 0.01
    assert worst_gradient(network, golden, left_over(network, golden, attend=False)) > 0.01


# --- the sum in parts ----------------------------------------------------------------------------------------------


class Work(nn.Module):
    """A loss of seven masks; of its weights, two share a gradient, one is frozen, one unused, one used once."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.first, self.second, self.frozen = (
            nn.Parameter(torch.randn(*shape, dtype=torch.float64)) for shape in ((5, 4), (3, 4), (3, 4), (5,))
        )
        self.frozen.requires_grad_(False)
        self.unused, self.only_at_first = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(4, dtype=torch.float64))
        self.source = torch.rand(7, 3, 4, dtype=torch.float64, requires_grad=True)
        self.targets = torch.randn(7, 3, 5, dtype=torch.float64)

    @property
    def masks(self) -> Tensor:
        return self.source.square()

    def forward(self, masks: Tensor, part: slice) -> Tensor:
        seen = masks + (self.first + self.second)  # the sum hands one gradient to both
        if part.start == 0:
            seen = torch.cat([seen[:1] * self.only_at_first, seen[1:]])
        found = torch.tanh(seen @ self.matrix.T) + self.frozen
        return (found - self.targets[part]).square().sum()

    def in_chunks(self, chunk: int, **options: float) -> Tensor:
        return sum_in_chunks(self, lambda run, masks, part: run(masks, part), self.masks, chunk, **options)

    def gradients(self, value: Tensor) -> list[Tensor | None]:
        wanted = [self.source, *(parameter for parameter in self.parameters() if parameter.requires_grad)]
        return list(torch.autograd.grad(value, wanted, allow_unused=True, retain_graph=True))


def same(ours: list[Tensor | None], expected: list[Tensor | None], factor: float = 1.0) -> None:
    for found, wanted in zip(ours, expected, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            torch.testing.assert_close(found, wanted * factor)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_value_and_gradients_are_those_of_plain_autograd(chunk):
    work = Work()
    expected = work(work.masks, slice(0, None))
    ours = work.in_chunks(chunk)
    torch.testing.assert_close(ours, expected)
    same(work.gradients(ours), work.gradients(expected))
    same(work.gradients(-3 * ours), work.gradients(expected), -3.0)
    same(work.gradients(ours), work.gradients(expected))  # asked again, nothing has been scaled for good


def test_it_joins_other_losses_in_one_backward():
    work = Work()
    total = 2 * work(work.masks, slice(0, None)) + work.matrix.square().sum()
    expected = work.gradients(total)
    (2 * work.in_chunks(2) + work.matrix.square().sum()).backward()
    same([work.source.grad, *(p.grad for p in work.parameters() if p.requires_grad)], expected)
    assert work.frozen.grad is None


def test_parameters_are_as_before_and_their_hooks_sleep_until_backward():
    """A reducer of DDP hangs on such hooks, and counts each parameter once a backward."""
    work, woken = Work(), []
    before = dict(work.named_parameters())
    work.matrix.register_post_accumulate_grad_hook(lambda parameter: woken.append(parameter))
    total = work.in_chunks(2) + work.matrix.sum()
    assert not woken and all(parameter.grad is None for parameter in work.parameters())
    total.backward()
    assert len(woken) == 1
    assert all(parameter is before[name] for name, parameter in work.named_parameters())


def test_the_network_can_be_left_out():
    work = Work()
    ours = work.gradients(work.in_chunks(2, train_network=False))
    expected = work.gradients(work(work.masks, slice(0, None)))
    same(ours, [expected[0], *[None] * (len(ours) - 1)])


def test_a_scale_saves_gradients_that_half_precision_would_lose():
    """The weight's gradient is 1e-8 through a half-precision cast, whose smallest number is 6e-8."""
    linear = nn.Linear(1, 1, bias=False)
    found = {}
    for scale in (1.0, 65536.0):

        def loss(run: Run, masks: Tensor, part: slice) -> Tensor:
            return 1e-8 * run(masks).half().float().sum()

        total = sum_in_chunks(linear, loss, torch.ones(2, 1, 1), 1, scale=scale)
        (found[scale],) = torch.autograd.grad(total, linear.weight)
    assert found[1.0].item() == 0
    torch.testing.assert_close(found[65536.0], torch.tensor([[2e-8]]), rtol=1e-2, atol=0)


@pytest.mark.parametrize("scale", [65536.0, 0.1])
def test_the_scale_is_not_in_the_gradients(scale):
    work = Work()
    same(work.gradients(work.in_chunks(2, scale=scale)), work.gradients(work(work.masks, slice(0, None))))


def test_without_gradients_it_is_a_mere_sum():
    work = Work()
    with torch.no_grad():
        ours = work.in_chunks(2)
    torch.testing.assert_close(ours, work(work.masks, slice(0, None)).detach())
    assert not ours.requires_grad


def test_no_pairs_sum_to_zero_and_backward_works():
    work = Work()
    ours = sum_in_chunks(work, lambda run, masks, part: run(masks, part), work.masks[:0], 2)
    assert ours.item() == 0
    (ours + work.matrix.sum()).backward()
    assert torch.equal(work.matrix.grad, torch.ones(5, 4, dtype=torch.float64))


def test_a_parts_activations_are_gone_before_the_next_part_comes():
    work, kept = Work(), weakref.WeakSet()
    alive = []

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            kept.add(self)

    def loss(run: Run, masks: Tensor, part: slice) -> Tensor:
        alive.append(len(kept))
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda held: held.tensor):
            return run(masks, part)

    sum_in_chunks(work, loss, work.masks, 2)
    assert alive == [0, 0, 0, 0]
    alive.clear()
    parts = [slice(start, start + 2) for start in range(0, 7, 2)]
    values = [loss(work, work.masks[part], part) for part in parts]
    assert len(values) == 4 and 0 < alive[1] < alive[2] < alive[3]  # as it would be without
