"""What the tests of audits share: records made by hand, in which every figure of a class is another number."""

import math
from collections.abc import Iterator

import torch

from wheretolook.evaluation.audit import Audit, ClassAudit, GroupAudit
from wheretolook.evaluation.contexts import Context, Patch, Places
from wheretolook.evaluation.exchange import CHANGES, Trial
from wheretolook.evaluation.intervals import Interval
from wheretolook.evaluation.judged import Evidence, Verdict

from .test_changes import pair


def one_class(name: str, word: str, first: int, fall: float | None = None) -> ClassAudit:
    """A class whose shares are first, first + 1, ... percent; its fall is another one if that is given."""
    shares: Iterator[float] = (number / 100 for number in range(first, first + 60))

    def interval() -> Interval:
        return Interval(next(shares), next(shares), next(shares))

    rates = {change: next(shares) for change in CHANGES}
    falls = interval() if fall is None else Interval(fall, next(shares), next(shares))
    evidence = Evidence(
        100 + first, 200 + first, 300 + first, interval(), next(shares), rates, falls, next(shares), interval(),
        next(shares), next(shares), next(shares), interval(),
    )  # fmt: skip
    probability = {change: next(shares) for change in CHANGES}
    patches = tuple(
        Patch(f"{name}{number}", 0, next(shares), (number, 1, 2 + number, 4), torch.zeros(1)) for number in range(2)
    )
    contexts = tuple(Context(images, next(shares), next(shares), patches) for images in (2, 5))
    verdict = Verdict(word, f"Because of {word}.", "And more.")
    places = Places(next(shares), f"left of {name}")
    return ClassAudit(name, verdict, evidence, next(shares), next(shares), probability, places, contexts)


def made_audit() -> Audit:
    """Classes of every verdict in another order than that of the verdicts, groups, pairs and a trial."""
    classes = [
        one_class("boat", "fine", 3),
        one_class("cow", "suspicious", 20, fall=0.125),
        one_class("sheep", "shortcut", 25, fall=0.25),
        one_class("tree", "suspicious", 31, fall=math.nan),
        one_class("fish", "too few to say", 7),
        one_class("bird", "suspicious", 33, fall=0.5),
        one_class("goat", "shortcut", 39, fall=0.75),
    ]
    groups = [GroupAudit("land", 11, 0.25, 0.5, 0.125), GroupAudit("sea", 12, 0.75, math.nan, math.nan)]
    pairs = [
        pair(0.5, "a", chance=0.25),
        pair(0.125, "b", chance=0.25),
        pair(0.25, "c", chance=0.25, probability=0.5),
        pair(0.75, "d", right=False, probability=0.375),
        pair(0.75, "e", right=False, probability=0.125),
        pair(math.nan, "f"),
    ]
    trial = Trial("a", 1, {"as_it_is": True, "object_erased": False}, {"as_it_is": 0.5}, (2,), 0)
    return Audit({"energy_pointing": 0.375, "images": 6, "mean_iu": math.nan}, classes, groups, pairs, [trial])
