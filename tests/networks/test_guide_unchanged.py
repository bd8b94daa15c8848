"""What guiding and a guided forward leave as it was, in threads, under torch.compile and after an exception too."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wheretolook
from wheretolook import attention_maps
from wheretolook.errors import ConfigError

from .zoo import ZOO, images, network

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything of a module that a user may rely on."""
    return {
        "state": {key: value.clone() for key, value in module.state_dict().items()},
        "tensors": {key: id(value) for key, value in [*module.named_parameters(), *module.named_buffers()]},
        "modes": {name: child.training for name, child in module.named_modules()},
        "hooks": {(name, kind): dict(getattr(child, kind)) for name, child in module.named_modules() for kind in HOOKS},
        "attributes": {name: sorted(vars(child)) for name, child in module.named_modules()},
        "wanted": {name: parameter.requires_grad for name, parameter in module.named_parameters()},
        "gradients": {
            name: None if parameter.grad is None else parameter.grad.clone()
            for name, parameter in module.named_parameters()
        },
        "random": torch.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


@contextmanager
def left_alone(module: nn.Module) -> Iterator[None]:
    before = snapshot(module)
    yield
    after = snapshot(module)
    assert [key for key in before if not same(before[key], after[key])] == []


class Rich(nn.Module):
    """Batch norm, dropout, a buffer that counts and is then replaced, a frozen layer, parts in other modes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 5, 3, 2)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(5, 2)
        self.register_buffer("runs", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))
        self.fails = False

    def forward(self, pixels: Tensor) -> Tensor:
        self.runs.add_(1)
        self.seen = self.seen + torch.rand(())
        features = self.second(self.norm(self.first(pixels)).relu_()).relu_()
        if self.fails:
            raise RuntimeError("out of paper")
        return self.head(self.dropout(features.mean(dim=(2, 3))))


def rich() -> Rich:
    module = Rich().train()
    module.norm.eval()
    module.first.requires_grad_(False)
    module(torch.rand(2, 3, 16, 16)).sum().backward()
    return module


def test_guiding_leaves_a_module_as_it_was():
    module = rich()
    with left_alone(module):
        guided = wheretolook.guide(module, input_size=32)
    assert guided.module is module
    assert [f"module.{key}" for key in module.state_dict()] == list(guided.state_dict())


def test_and_after_an_exception_too():
    module = rich()
    module.fails = True
    with left_alone(module), pytest.raises(ConfigError, match="32x32: out of paper"):
        wheretolook.guide(module, input_size=32)


def test_a_forward_leaves_no_hook_and_no_gradient():
    module = rich().eval()
    guided = wheretolook.guide(module, input_size=32)
    before = snapshot(module)
    attention_maps(guided(torch.rand(2, 3, 32, 32)), differentiable=True)
    with torch.no_grad():
        attention_maps(guided(torch.rand(2, 3, 32, 32)))
        assert not torch.is_grad_enabled()
    after = snapshot(module)
    assert all(same(before[key], after[key]) for key in ("hooks", "attributes", "wanted", "gradients", "modes"))
    module.fails = True
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="out of paper"):
            guided(torch.rand(2, 3, 32, 32))
        assert not torch.is_grad_enabled()
    assert same(before["hooks"], snapshot(module)["hooks"])


def test_no_graph_outlives_its_output():
    """A hook or a store that held on to the features would keep every step's graph."""
    guided = wheretolook.guide(rich(), input_size=32)
    output = guided(torch.rand(2, 3, 32, 32))
    freed = []
    output.features.grad_fn.metadata["witness"] = Witness(freed)
    del output
    assert freed == ["freed"]


class Witness:
    def __init__(self, told: list[str]) -> None:
        self.told = told

    def __del__(self) -> None:
        self.told.append("freed")


@pytest.mark.parametrize("name", ["resnet18", "segformer", "swin_t"])
def test_networks_of_libraries_are_left_alone(name: str):
    module = copy.deepcopy(network(name)).train()
    with torch.no_grad():
        module.eval()(images(name))  # Hugging Face's put their own hooks on at the first forward
    module.train()
    with left_alone(module):
        wheretolook.guide(module, input_size=ZOO[name].size)


def test_two_threads_may_call_one_network():
    """Their forwards are in each other's hooks: the first layer waits until both are inside."""
    barrier = Barrier(2, timeout=300)

    class Meeting(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            barrier.wait()
            return pixels

    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.AdaptiveAvgPool2d(1))
    module = nn.Sequential(module, nn.Flatten(), nn.Linear(4, 2)).eval()
    guided = wheretolook.guide(module, input_size=32)
    batches = [torch.rand(2, 3, 32, 32), torch.rand(3, 3, 48, 48)]
    expected = [attention_maps(guided(batch)) for batch in batches]
    module[0].insert(0, Meeting())
    module[0].insert(4, Meeting())
    found: dict[int, Tensor] = {}

    def run(index: int) -> None:
        for _ in range(3):
            found[index] = attention_maps(guided(batches[index]))

    guided.forms = {name.replace("0.2", "0.3"): form for name, form in guided.forms.items()}
    threads = [Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], expected[index]) for index in range(2))


@pytest.mark.parametrize("name", ["two_outputs", "vit_small"])
def test_a_compiled_module_gives_the_same_and_stays_usable(name: str):
    torch._dynamo.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    module, pixels = network(name), images(name)
    expected = wheretolook.guide(module, input_size=ZOO[name].size)(pixels)
    compiled = torch.compile(module, backend=backend)
    guided = wheretolook.guide(compiled, input_size=ZOO[name].size)
    assert guided.layer == ZOO[name].layer
    assert not graphs, "the dry run should not compile"
    for _ in range(2):  # bare and guided by turns: neither may run the other's compiled code
        compiled(pixels)
        output = guided(pixels)
        torch.testing.assert_close(attention_maps(output), attention_maps(expected), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.class_scores, expected.class_scores)
    count = len(graphs)
    assert count
    guided(pixels)
    compiled(pixels)
    assert len(graphs) == count, "compiled again"


def test_a_module_compiled_in_place_and_a_part_of_it():
    torch._dynamo.reset()
    module = network("two_outputs")
    expected = attention_maps(wheretolook.guide(module, input_size=64)(images("two_outputs")))
    whole, part = copy.deepcopy(module), copy.deepcopy(module)
    whole.compile(backend="eager")
    part.features = torch.compile(part.features, backend="eager")
    for compiled, layer in ((whole, "features"), (part, "features._orig_mod.2")):
        guided = wheretolook.guide(compiled, layer, input_size=64)
        maps = attention_maps(guided(images("two_outputs")))
        if compiled is whole:
            torch.testing.assert_close(maps, expected)
        assert maps.amax() > 0
