"""Does a network look at the right thing, and does it matter? All that is measured of its classes, and the verdict."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import torch
from torch import Tensor

from wheretolook.data.dataset import ImageDataset
from wheretolook.evaluation.contexts import PLACES, Context, Patch, Places, contexts, patches, place_energies, places
from wheretolook.evaluation.evaluate import Evaluator, Figures
from wheretolook.evaluation.exchange import CHANGES, Lenders, Trial, Wanted, lending, tried
from wheretolook.evaluation.intervals import fall_interval, ratio_interval, share_interval
from wheretolook.evaluation.judged import Evidence, Verdict, judged
from wheretolook.evaluation.pairs import PairFigures, Seen, batch_pairs, seen_batches
from wheretolook.options.audit import RuleOptions
from wheretolook.options.commands import Shortcut
from wheretolook.records import Batch, GuidedNetwork

PATCHES = 300  # of a class at most, for the memory of their features

Tracked = Callable[[Iterable[Trial], int], Iterable[Trial]]


@dataclass(frozen=True)
class ClassAudit:
    """What an audit found of a class.

    Args:
        name: of the class.
        verdict: what it amounts to.
        evidence: what that rests on.
        spread: standard deviation over images of the share of attention on the object.
        empty: share of its maps that are empty.
        probability: mean over the tried images, by change.
        places: where attention beside the object lies.
        contexts: patches that its images share, beside the object.
    """

    name: str
    verdict: Verdict
    evidence: Evidence
    spread: float
    empty: float
    probability: dict[str, float]
    places: Places
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class GroupAudit:
    """A group of images that share an attribute.

    Args:
        name: of the group.
        pairs: how many classes its images show, one by one.
        right: share of them that is recognised.
        energy: mean share of attention on the object; NaN where nothing is annotated.
        spread: its standard deviation over images.
    """

    name: str
    pairs: int
    right: float
    energy: float
    spread: float


@dataclass(frozen=True)
class Audit:
    """All that an audit found.

    Args:
        figures: those of `evaluate`.
        classes: one for each class that any image shows.
        groups: one for each group that images name.
        pairs: one record for each class that each image shows.
        trials: what became of changed images.
    """

    figures: Figures
    classes: list[ClassAudit]
    groups: list[GroupAudit]
    pairs: list[PairFigures]
    trials: list[Trial]

    def wrong_reasons(self, rule: RuleOptions) -> list[PairFigures]:
        """Pairs that are right for the wrong reason, those with the least attention on the object first.

        That is: attention is off the object; or the class is recognised without the object as well, and not with it in
        front of another class's background.

        Args:
            rule: says how little is off.
        """
        betrayed = {
            (trial.name, trial.class_index)
            for trial in self.trials
            if trial.right.get("object_erased") and trial.right.get("other_background") is False
        }
        found = [
            pair
            for pair in self.pairs
            if pair.right
            and pair.annotated
            and (
                (not pair.empty and pair.energy <= rule.off_object * pair.chance)
                or (pair.name, pair.class_index) in betrayed
            )
        ]
        return sorted(found, key=lambda pair: (pair.energy / pair.chance, -pair.probability))

    def wrong(self) -> list[PairFigures]:
        """Pairs that are wrong, the surest first."""
        return sorted((pair for pair in self.pairs if not pair.right), key=lambda pair: pair.probability)


@dataclass
class _Observed:
    """What one pass over the images leaves."""

    evaluator: Evaluator
    absent: Tensor  # images that do not show each class
    mistaken: Tensor  # those of them in which the network says so
    pairs: list[PairFigures] = field(default_factory=list)
    patches: dict[int, list[Patch]] = field(default_factory=lambda: defaultdict(list))
    places: dict[int, Tensor] = field(default_factory=lambda: defaultdict(lambda: torch.zeros(PLACES, PLACES)))
    lenders: set[str] = field(default_factory=set)

    def take(self, network: GuidedNetwork, seen: Seen) -> None:
        """Take in a batch."""
        batch = seen.batch
        self.evaluator.update(seen.output, batch)
        self.pairs += batch_pairs(network, seen)
        for patch in patches(seen):
            if len(self.patches[patch.class_index]) < PATCHES:
                self.patches[patch.class_index].append(patch)
        for energies, class_index in zip(place_energies(seen).cpu(), batch.pairs[:, 1].tolist(), strict=True):
            self.places[class_index] = self.places[class_index] + energies
        self.lenders |= {name for name, can in zip(batch.names, lending(batch).tolist(), strict=True) if can}
        scores = seen.output.class_scores
        highest = torch.nn.functional.one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
        said = highest if batch.exclusive else scores > 0
        self.absent = self.absent + (~batch.labels).sum(dim=0).cpu()
        self.mistaken = self.mistaken + (said & ~batch.labels).sum(dim=0).cpu()


def audit(
    network: GuidedNetwork,
    dataset: ImageDataset,
    batches: Iterable[Batch],
    *,
    rule: RuleOptions | None = None,
    limit: int = 50,
    mark: Shortcut = "tag",
    batch_size: int = 8,
    seed: int = 0,
    tracked: Tracked | None = None,
) -> Audit:
    """Measure where a network looks and whether that matters, and judge each class.

    Args:
        network: any guided network; left as it was.
        dataset: the images.
        batches: all of them, once.
        rule: the thresholds of the verdict; None for the defaults.
        limit: images of each class that are changed at most, spread over the data set.
        mark: what is put into images to see whether it distracts.
        batch_size: most changed images a forward.
        seed: of what is drawn.
        tracked: shows progress over what is tried, given how much that is.
    """
    rule = rule or RuleOptions()
    classes = len(network.class_names)
    evaluator = Evaluator(classes, method=network.attention, shared=False).to(next(network.parameters()).device)
    observed = _Observed(evaluator, *torch.zeros(2, classes, dtype=torch.long))
    for seen in seen_batches(network, batches):
        observed.take(network, seen)
    numbers = {name: number for number, name in enumerate(dataset.names)}
    labelled = defaultdict(set)
    for pair in observed.pairs:
        labelled[pair.name].add(pair.class_index)
    lenders = Lenders({numbers[name]: frozenset(labelled[name]) for name in sorted(observed.lenders)})
    wanted = _wanted(observed.pairs, numbers, limit)
    trials = tried(network, dataset, wanted, lenders, mark=mark, batch_size=batch_size, seed=seed)
    found = list(trials if tracked is None else tracked(trials, len(wanted)))
    judgements = list(_classes(network.class_names, observed, found, rule))
    return Audit(evaluator.compute(), judgements, list(_groups(observed.pairs)), observed.pairs, found)


def _wanted(pairs: Sequence[PairFigures], numbers: dict[str, int], limit: int) -> list[Wanted]:
    """Annotated pairs, at most so many of a class, spread evenly."""
    by_class = defaultdict(list)
    for pair in pairs:
        if pair.annotated:
            by_class[pair.class_index].append(Wanted(numbers[pair.name], pair.class_index))
    chosen = []
    for of_class in by_class.values():
        step = max(len(of_class) / limit, 1)
        chosen += [of_class[int(place * step)] for place in range(min(limit, len(of_class)))]
    return sorted(chosen)


def _classes(
    names: Sequence[str], observed: _Observed, trials: Sequence[Trial], rule: RuleOptions
) -> Iterator[ClassAudit]:
    every = [patch.column for found in observed.patches.values() for patch in found]
    mean = torch.stack(every).mean(dim=0) if every else torch.zeros(1)
    for index, name in enumerate(names):
        pairs = [pair for pair in observed.pairs if pair.class_index == index]
        if not pairs:
            continue
        own = [trial for trial in trials if trial.class_index == index]
        absent, mistaken = (int(counts[index]) for counts in (observed.absent, observed.mistaken))
        evidence = evidence_of(pairs, own, mistaken / absent if absent else 0.0)
        yield ClassAudit(
            name=name,
            verdict=judged(evidence, rule),
            evidence=evidence,
            spread=_spread([pair.energy for pair in pairs if pair.annotated]),
            empty=fmean(pair.empty for pair in pairs),
            probability={
                change: _mean([trial.probability[change] for trial in own if change in trial.probability])
                for change in CHANGES
            },
            places=places(observed.places[index] / len(pairs)),
            contexts=tuple(contexts(observed.patches[index], mean, len(pairs))),
        )


def evidence_of(pairs: Sequence[PairFigures], trials: Sequence[Trial], mistaken: float) -> Evidence:
    """What is known of a class.

    Args:
        pairs: of the class, at least one.
        trials: of the class.
        mistaken: share of the images without it in which the network says that it is there.
    """
    annotated = [pair for pair in pairs if pair.annotated]
    exchanged = ("own_background", "other_background")
    both = [trial for trial in trials if trial.right.keys() >= {*exchanged}]
    of = {change: both if change in exchanged else trials for change in CHANGES}
    return Evidence(
        images=len(pairs),
        annotated=len(annotated),
        tried=len(both),
        recognised=share_interval(sum(pair.right for pair in pairs), len(pairs)),
        mistaken=mistaken,
        rates={
            change: _mean([float(trial.right[change]) for trial in of[change] if change in trial.right])
            for change in CHANGES
        },
        fall=fall_interval(*([trial.right[change] for trial in both] for change in exchanged)),
        follows=_mean([float(trial.predicted in trial.lent) for trial in both]),
        focus=ratio_interval(
            [pair.energy - pair.chance for pair in annotated], [pair.ceiling - pair.chance for pair in annotated]
        ),
        energy=_mean([pair.energy for pair in annotated]),
        chance=_mean([pair.chance for pair in annotated]),
        ceiling=_mean([pair.ceiling for pair in annotated]),
        border=ratio_interval([pair.border for pair in pairs], [pair.border_chance for pair in pairs]),
    )


def _groups(pairs: Sequence[PairFigures]) -> Iterator[GroupAudit]:
    by_group = defaultdict(list)
    for pair in pairs:
        if pair.group:
            by_group[pair.group].append(pair)
    for name, found in sorted(by_group.items()):
        energies = [pair.energy for pair in found if pair.annotated]
        yield GroupAudit(name, len(found), fmean(pair.right for pair in found), _mean(energies), _spread(energies))


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else math.nan
