"""Two processes, each with one half of a batch; writes the gradients that DDP leaves in networks of all libraries."""

import sys
from dataclasses import replace

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from wheretolook.losses.objective import LOSSES
from wheretolook.networks.modes import training_only
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, Sample, collate
from wheretolook.training.stage import Stage, objective_of

from ..networks.zoo import CLASSES, ZOO, guided
from .processes import Loss, both

TOGETHER = ("resnet18", "vit_small", "swin_tiny", "fpn", "segformer", "two_outputs")  # each library, each kind
SIDE = 64


def drawn(*shown: tuple[int, ...]) -> list[Sample]:
    """Noise with a rectangle for each class that an image shows."""
    samples = []
    for number, classes in enumerate(shown):
        generator = torch.Generator().manual_seed(number)
        mask = torch.zeros(SIDE, SIDE, dtype=torch.long)
        for place, index in enumerate(classes):
            mask[4 + 20 * place : 20 + 20 * place, 10 * index : 24 + 10 * index] = 1 + index
        labels = torch.tensor([index in classes for index in range(CLASSES)])
        planes = [(mask == 1 + index).to(torch.uint8) for index in sorted(classes)]
        targets = torch.stack(planes) if planes else torch.zeros(0, SIDE, SIDE, dtype=torch.uint8)
        samples.append(Sample(torch.rand(3, SIDE, SIDE, generator=generator), mask, labels, targets, True, str(number)))
    return samples


def four() -> list[Sample]:
    """Images that show two, one, no and three classes: halves of other numbers of pairs."""
    return drawn((0, 2), (1,), (), (2, 0, 1))


def stage_of(name: str) -> Stage:
    """Everything that the network can be guided by, in evaluation mode: batch norm sees only its process's images."""
    left_out = {"mixed_background"}  # mixes the images that one process has
    left_out |= set() if ZOO[name].segments else {"segmentation"}
    losses = {loss: 1.0 for loss in LOSSES if loss not in left_out}
    objective = objective_of(**losses)
    # nothing at random, and changes so small that it does not matter where rounding turns a sign
    small = replace(objective.robust_gradients, samples=0, epsilon=1e-5)
    stage = Stage.guidance(guided(name), TrainingOptions(), replace(objective, robust_gradients=small))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # the network as it was is another, as it is after some steps
        for weight in stage.earlier[0].parameters():
            weight *= 1 + 0.1 * torch.randn(weight.shape, generator=generator)
    return stage


def gradients(name: str, batch: Batch, *, parallel: bool) -> dict[str, torch.Tensor]:
    """Of every parameter that the stage trains."""
    stage = stage_of(name)
    with training_only(stage.network, stage.trained_modules()):
        stage.network.eval()
        loss = DistributedDataParallel(Loss(stage)) if parallel else Loss(stage)
        loss(batch).backward()
        trained = {key: value for key, value in stage.network.named_parameters() if value.requires_grad}
    found = {key: value.grad for key, value in trained.items()}
    stage.network.zero_grad()
    return found


def train(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half = collate(four()[2 * rank : 2 * rank + 2])
    found = {name: gradients(name, half, parallel=True) for name in TOGETHER}
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in TOGETHER:
        guided(name)
    both(train, sys.argv[1])
