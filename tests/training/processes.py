"""Two processes together; writes the gradients that DDP leaves, for every objective and batch, and some figures."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from wheretolook.data.loading import ImageData
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.networks.modes import training_only
from wheretolook.options.training import HardwareOptions
from wheretolook.records import Batch, collate
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from .made import (
    PARTINGS,
    SHARED,
    WEIGHTED,
    ConstantNetwork,
    floats,
    guided_stage,
    made_batch,
    made_samples,
    plain_stage,
    scenes,
)


class Loss(nn.Module):
    """What Lightning wraps in DDP: the whole training step."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.stage.terms(batch)[0]


def gradients(variant: str, order: list[int], rank: int, weighted: bool = False) -> dict[str, torch.Tensor]:
    stage = guided_stage(SHARED[variant])
    samples = made_samples(weighted=weighted)
    half = len(order) // 2
    batch = collate([samples[index] for index in order[rank * half : (rank + 1) * half]])
    with training_only(stage.network, stage.trained_modules()):
        parallel = DistributedDataParallel(Loss(stage))
        parallel(batch).backward()
    return {name: value.grad for name, value in stage.network.named_parameters() if value.grad is not None}


def train(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {f"{name}, {how}": gradients(name, order, rank) for name in SHARED for how, order in PARTINGS.items()}
    found |= {
        f"{name}, {how}, weighted": gradients(name, order, rank, True)
        for name in WEIGHTED
        for how, order in PARTINGS.items()
    }
    figures = evaluate(ConstantNetwork(), [floats(made_batch())])
    if rank == 0:
        torch.save({"gradients": found, "figures": figures}, f"{folder}/found.pt")
    distributed.destroy_process_group()


def run(rank: int, folder: str, port: int) -> None:
    """A whole run, by Lightning, as on two devices of one machine."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0", LOCAL_RANK=str(rank))
    two = HardwareOptions(accelerator="cpu", devices=2, strategy="ddp")
    run_stage(plain_stage(), ImageData(scenes(), steps=3), Path(folder) / "run", hardware=two)


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def both(task: Callable[..., None], *arguments: object) -> None:
    fork = multiprocessing.get_context("fork")  # the slow part, the imports, is done once
    started = [fork.Process(target=task, args=(rank, *arguments)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=600)
        process.kill()
    if any(process.exitcode != 0 for process in started):
        sys.exit(f"{task.__name__} failed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    both(train, sys.argv[1])
    both(run, sys.argv[1], free_port())
