"""What came of guidance, in a sentence: only what is larger than its spread over seeds is claimed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from wheretolook.metrics.figures import FIGURES
from wheretolook.report.components import Tone
from wheretolook.report.seeds import SeedRow, rows_by_name
from wheretolook.report.tables import number

ASKED = ("worst_group_accuracy", "mean_iu", "worst_class_accuracy")  # what guidance is for, the first that is measured
ATTENTION = ("energy_pointing", "energy_on_mark")
QUESTION = "Is the guided network right more often than its control, and does it look at the objects?"
LEAST = 3  # seeds of which a spread means something
Pairs = list[tuple[float, float]]  # before and after, of each seed
# what is said of a network that is right more often (1), less often (-1) or neither, and whose attention went onto the
# objects (1), left them (-1) or did neither, as far as that was measured
ANSWERS: dict[tuple[int, int], tuple[str, Tone]] = {
    (1, 1): ("Guidance helps, and attention moves onto the objects", "good"),
    (1, 0): ("Guidance helps", "good"),
    (1, -1): ("Guidance helps, though attention leaves the objects", "unclear"),
    (0, 1): ("Attention moves onto the objects, and no difference in {asked} can be told from chance", "good"),
    (0, 0): ("Guidance makes no difference that can be told from chance", "unclear"),
    (0, -1): ("Attention leaves the objects, and no difference in {asked} can be told from chance", "bad"),
    (-1, 1): ("Guidance hurts, though attention moves onto the objects", "bad"),
    (-1, 0): ("Guidance hurts", "bad"),
    (-1, -1): ("Guidance hurts, and attention leaves the objects", "bad"),
}


@dataclass(frozen=True)
class Outcome:
    """What came of guidance.

    Args:
        answer: in a sentence, without a full stop.
        figures: that it rests on, before and after.
        tone: whether that is good news.
    """

    answer: str
    figures: str
    tone: Tone

    def __str__(self) -> str:
        """In one line."""
        return f"{self.answer}: {self.figures}"


def verdict(rows: Sequence[SeedRow]) -> Outcome | None:
    """Whether the last row is better than the one before it, its closest control; None where nothing can be compared.

    A difference counts where its mean over at least three seeds is larger than its standard deviation.

    Args:
        rows: the evaluations of every seed, shares in [0, 1].

    Example:
        >>> figures = {"Control": (0.2, 0.25, 0.3), "Guided": (0.7, 0.75, 0.85)}
        >>> print(verdict([{"weights": name, "worst_group_accuracy": share, "seed": seed}
        ...     for name, shares in figures.items() for seed, share in enumerate(shares)]))
        Guidance helps: Worst group 76.7 in place of 25.0 (+51.7 ± 2.9 over 3 seeds) beside 'Control'.
    """
    names = rows_by_name(rows)
    if len(names) < 2:
        return None
    (control, before), (_, after) = list(names.items())[-2:]
    seeds = sorted(before.keys() & after.keys())

    def paired(key: str) -> Pairs:
        pairs = [(number(before[seed].get(key)), number(after[seed].get(key))) for seed in seeds]
        return [pair for pair in pairs if all(map(math.isfinite, pair))]

    asked = next((key for key in ASKED if paired(key)), None)
    if asked is None:
        return None
    looks = {key: pairs for key in ATTENTION if (pairs := paired(key))}
    said = [f"{_said(asked, paired(asked))} beside '{control}'", *(_said(key, looks[key]) for key in looks)]
    figures = f"{'; '.join(said)}."
    if len(paired(asked)) < LEAST:
        return Outcome(f"Too few seeds to tell from chance, give seeds {LEAST}", figures, "unclear")
    moved = next((_better(key, pairs) for key, pairs in looks.items()), 0)
    answer, tone = ANSWERS[_better(asked, paired(asked)), moved]
    return Outcome(answer.format(asked=FIGURES[asked].heading), figures, tone)


def _better(key: str, pairs: Pairs) -> int:
    """1 where a figure is surely better, -1 where it is surely worse, 0 where its spread leaves that open."""
    changes = [after - before for before, after in pairs]
    if len(changes) < LEAST or abs(fmean(changes)) <= stdev(changes):
        return 0
    return 1 if (fmean(changes) > 0) is (FIGURES[key].higher_is_better is True) else -1


def _said(key: str, pairs: Pairs) -> str:
    """A share in percent after and before, and the mean and spread of its change."""
    changes = [after - before for before, after in pairs]
    before, after = (fmean(side) for side in zip(*pairs, strict=True))
    change = f"{100 * fmean(changes):+z.1f}"
    spread = f" ± {100 * stdev(changes):.1f} over {len(changes)} seeds" if len(changes) > 1 else ", one seed"
    return f"{FIGURES[key].heading} {100 * after:.1f} in place of {100 * before:.1f} ({change}{spread})"
