"""Runs that only find the layer and its cells: hooks can tell them, and no device needs double precision for them."""

import threading

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import wheretolook
from wheretolook.metrics.classification import average_precisions
from wheretolook.networks.grid import CellFinder
from wheretolook.networks.guide import guide
from wheretolook.networks.modes import untouched


def test_a_hook_can_tell_the_runs_of_the_users_from_those_that_look_for_cells():
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())  # cells that lie elsewhere in each size of image
    module = nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    dry: list[bool] = []
    trunk[0].register_forward_hook(lambda *_: dry.append(wheretolook.dry_run()))
    network = guide(module, class_names=("one", "two"), input_size=(32, 32))
    assert dry and all(dry)
    for size in ((32, 32), (32, 48), (32, 48)):
        dry.clear()
        network(torch.rand(1, 3, *size))
        assert dry.count(False) == 1, size
    module(torch.rand(1, 3, 32, 64))
    assert dry[-1] is False


def test_a_dry_run_is_of_its_thread_and_ends_with_its_block():
    layer = nn.BatchNorm2d(3)
    told: list[bool] = []
    with pytest.raises(ZeroDivisionError), untouched(layer):
        with untouched(layer):
            pass
        assert wheretolook.dry_run()
        thread = threading.Thread(target=lambda: told.append(wheretolook.dry_run()))
        thread.start()
        thread.join()
        raise ZeroDivisionError
    assert told == [False] and not wheretolook.dry_run()


class WithoutDoubles(TorchDispatchMode):
    """The device "meta" stands for one that has no double precision; what is copied from it is all ones."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
            result = torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        else:
            result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                assert tensor.device.type == "cpu", f"{func} made a double on {tensor.device}"
        return result


class Merged(nn.Module):
    """Patches merged by slicing, so that cells have to be measured."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images[:, :, ::2, ::2], images[:, :, 1::2, 1::2]], dim=1)


def test_the_device_that_stands_for_one_without_double_precision_is_strict():
    with WithoutDoubles(), pytest.raises(AssertionError, match="made a double on meta"):
        torch.ones(2, device="meta").double()
    with WithoutDoubles():
        assert torch.ones(2, device="meta").cpu().double().tolist() == [1, 1]


@pytest.mark.parametrize("measured", [False, True])
def test_cells_are_found_on_a_device_without_double_precision(measured: bool):
    """By strides and paddings and what training moved, and by gradients."""
    stem, norm = nn.Conv2d(3, 8, 7, stride=4, padding=3), nn.BatchNorm2d(8)
    layers = [stem, norm, *([Merged(), nn.Conv2d(16, 4, 1)] if measured else [])]
    for device in ("cpu", "meta"):
        module = nn.Sequential(*layers).to(device)
        find = CellFinder(module, module[-1], lambda output, size: output)
        with WithoutDoubles():
            cells = find(torch.zeros(1, 3, 64, 96, device=device), (8, 12) if measured else (16, 24))
        if device == "cpu" or not measured:  # gradients of all ones tell nothing
            assert cells.stride == ((8.0, 8.0) if measured else (4.0, 4.0))


def test_average_precision_needs_no_double_precision_and_is_the_same_without():
    with WithoutDoubles():
        scores, labels = torch.rand(6, 4, device="meta"), torch.ones(6, 4, dtype=torch.bool, device="meta")
        assert average_precisions(scores, labels).shape == (4,)
