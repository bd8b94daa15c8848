"""Two processes together; writes the gradients that DDP leaves, for every objective and batch, and some figures."""

import multiprocessing
import sys
from dataclasses import replace

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from wheretolook.config import TrainingConfig
from wheretolook.modes import training_only
from wheretolook.records import Batch, collate
from wheretolook.training.evaluate import evaluate
from wheretolook.training.gain import GainStage
from wheretolook.training.stage import Stage

from .made import EVERYTHING, PARTINGS, VARIANTS, ConstantNetwork, floats, made_batch, made_network, made_samples


class Loss(nn.Module):
    """What Lightning wraps in DDP: the whole training step."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.stage.terms(batch).total


def gradients(variant: str, order: list[int], rank: int) -> dict[str, torch.Tensor]:
    stage = GainStage(made_network(), TrainingConfig(), replace(EVERYTHING, **VARIANTS[variant]))
    samples = made_samples()
    half = len(order) // 2
    batch = collate([samples[index] for index in order[rank * half : (rank + 1) * half]])
    with training_only(stage.network, stage.trained_modules()):
        parallel = DistributedDataParallel(Loss(stage))
        parallel(batch).backward()
    return {name: value.grad for name, value in stage.network.named_parameters() if value.grad is not None}


def train(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {f"{name}, {how}": gradients(name, order, rank) for name in VARIANTS for how, order in PARTINGS.items()}
    figures = evaluate(ConstantNetwork(), [floats(made_batch())])
    if rank == 0:
        torch.save({"gradients": found, "figures": figures}, f"{folder}/found.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")  # the slow part, the imports, is done once
    both = [fork.Process(target=train, args=(rank, sys.argv[1])) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=300)
        process.kill()
    sys.exit(any(process.exitcode != 0 for process in both))
