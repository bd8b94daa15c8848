"""One of two processes that train together: writes the gradients that DDP leaves, for every objective and batch."""

import sys
from dataclasses import replace

import torch
from made import EVERYTHING, PARTINGS, VARIANTS, made_network, made_samples
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from wheretolook.config import TrainingConfig
from wheretolook.modes import training_only
from wheretolook.records import Batch, collate
from wheretolook.training.gain import GainStage
from wheretolook.training.stage import Stage


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


if __name__ == "__main__":
    rank, file, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = {f"{name}, {how}": gradients(name, order, rank) for name in VARIANTS for how, order in PARTINGS.items()}
    if rank == 0:
        torch.save(found, result)
    distributed.destroy_process_group()
