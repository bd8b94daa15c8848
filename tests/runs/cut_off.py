"""Runs that end as a power cut ends them, and are resumed: each in a process of its own, which kills itself."""

import os
import signal
import sys
from pathlib import Path

import torch

from wheretolook.data.loading import ImageData
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.runs import trainer
from wheretolook.training.stage import Stage

from ..training.made import CPU, budget, changed, scene_network, scenes

# batches 0 to 15; after 5 and 11 come a validation, of three batches, and a checkpoint
BUDGET = budget(8, accumulate=2, validate_every=3, clip=5.0, seed=3)
CUTS: dict[str, list[tuple[str, int]]] = {
    "whole": [],
    "before any checkpoint, then in mid-step": [("training_step", 3), ("training_step", 7)],
    "between validations, then after the last one": [("training_step", 10), ("training_step", 15)],
    "in a validation, then while finishing": [("validation_step", 4), ("save_network", 0), ("write_json", 0)],
}


def cut_at(owner: object, name: str, call: int) -> None:
    """Let the process die when the function is called for that time."""
    whole, calls = getattr(owner, name), []

    def cut(*arguments: object) -> object:
        number = arguments[-1] if name == "training_step" else len(calls)
        calls.append(name)
        if number == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments)

    setattr(owner, name, cut)


def train(out: Path, cut: tuple[str, int] | None) -> None:
    stage = Stage.guidance(
        scene_network(), BUDGET, changed(ObjectiveOptions(), {"squared.weight": 2.0, "classes_per_image": 1})
    )
    if cut is not None:
        cut_at(stage if cut[0].endswith("step") else trainer, *cut)
    data = ImageData(scenes(), steps=BUDGET.steps, accumulate=BUDGET.accumulate, seed=BUDGET.seed)
    trainer.run_stage(stage, data, out, hardware=CPU, resume=out.exists())


def in_a_process(out: Path, cut: tuple[str, int] | None) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            train(out, cut)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for name, cuts in CUTS.items():
        codes = [in_a_process(Path(sys.argv[1]) / name, cut) for cut in (*cuts, None)]
        if codes != [-signal.SIGKILL] * len(cuts) + [0]:
            sys.exit(f"{name}: {codes}")
