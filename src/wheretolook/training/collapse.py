"""Guidance can win its loss by giving up: maps that cover nothing or everything, scores that no longer recognise."""

import logging

import torch

from wheretolook.losses.mining import soft_masks
from wheretolook.losses.step import Step
from wheretolook.options.objective import ObjectiveOptions

log = logging.getLogger("wheretolook")

NOTHING, EVERYTHING = 0.01, 0.9  # share of the positions that the soft masks erase by more than half
PATIENCE = 20  # steps in a row before a warning, so that one odd batch raises none


class CollapseWatch:
    """Warns once by name when the soft masks or the recall collapse.

    Example:
        >>> watch = CollapseWatch()
        >>> for step in range(PATIENCE):
        ...     watch.see(step, coverage=1.0, recall=0.9)
        >>> sorted(watch.warned)
        ['the soft masks cover everything']
    """

    def __init__(self) -> None:
        self.best_recall = 0.0
        self.streaks: dict[str, int] = {}
        self.warned: set[str] = set()

    def see(self, step: int, *, coverage: float | None, recall: float) -> None:
        """Take in one step.

        Args:
            step: its number, for the warning.
            coverage: share of the positions that the soft masks erase by more than half; None where nothing is mined.
            recall: share of the present classes whose score is above 0, in [0, 1].
        """
        fallen = recall < self.best_recall / 2
        # a slow maximum: one lucky batch must not set the bar
        self.best_recall = max(self.best_recall, min(recall, self.best_recall + 0.05))
        self._count(step, "the soft masks cover nothing", coverage is not None and coverage < NOTHING)
        self._count(step, "the soft masks cover everything", coverage is not None and coverage > EVERYTHING)
        self._count(step, "the recall of the classes has fallen by half", fallen)

    def _count(self, step: int, what: str, seen: bool) -> None:
        self.streaks[what] = self.streaks.get(what, 0) + 1 if seen else 0
        if self.streaks[what] >= PATIENCE and what not in self.warned:
            self.warned.add(what)
            log.warning("collapse at step %d: %s; lower the weights of guidance or the learning rate", step, what)


@torch.no_grad()
def coverage(step: Step, objective: ObjectiveOptions) -> float | None:
    """Share of the positions that the soft masks erase by more than half; None where nothing is mined."""
    if not objective.mining.weight or not len(step.pairs):
        return None
    return float((soft_masks(step, objective.mining) > 0.5).float().mean())


@torch.no_grad()
def recall(step: Step) -> float:
    """Share of the present classes that the network recognises: a score above 0, or above all others of the image."""
    scores, labels = step.output.class_scores, step.batch.labels
    if step.batch.exclusive:
        return float((scores.argmax(dim=1) == labels.int().argmax(dim=1)).float().mean())
    return float((scores[labels] > 0).float().mean())
