"""What came of guidance, in one sentence: only what is larger than its spread over seeds is claimed."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from wheretolook.metrics.figures import FIGURES
from wheretolook.report.components import Tone
from wheretolook.report.seeds import SeedRow, rows_by_name
from wheretolook.report.tables import number

ASKED = ("worst_group_accuracy", "mean_iu", "worst_class_accuracy")  # what guidance is for, the first that is measured
ATTENTION = ("energy_pointing", "energy_on_mark")
QUESTION = "Is the guided network right more often than its control, and does it look at the objects?"
GOOD, BAD = "Guidance helps", "Guidance hurts"
LEAST = 3  # seeds of which a spread means something


def verdict(rows: Sequence[SeedRow]) -> str:
    """Whether the last row is better than the one before it, its closest control; empty where nothing can be compared.

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
        return ""
    (control, before), (_, after) = list(names.items())[-2:]
    seeds = sorted(before.keys() & after.keys())

    def paired(key: str) -> list[tuple[float, float]]:
        pairs = [(number(before[seed].get(key)), number(after[seed].get(key))) for seed in seeds]
        return [pair for pair in pairs if all(map(math.isfinite, pair))]

    asked = next((key for key in ASKED if paired(key)), None)
    if asked is None:
        return ""
    said = f"{_said(asked, paired(asked))} beside '{control}'"
    looks = "".join(f"; {_said(key, paired(key))}" for key in ATTENTION if paired(key))
    return f"{_judged(paired(asked))}: {said}{looks}."


def _judged(pairs: Sequence[tuple[float, float]]) -> str:
    changes = [after - before for before, after in pairs]
    if len(changes) < LEAST:
        return f"Too few seeds to tell from chance, give seeds {LEAST}"
    if abs(fmean(changes)) <= stdev(changes):
        return "Guidance makes no difference that can be told from chance"
    return GOOD if fmean(changes) > 0 else BAD


def tone(said: str) -> Tone:
    """Whether a verdict is good news.

    Args:
        said: what `verdict` gave.

    Example:
        >>> tone("Guidance helps: Mean IU 60.0 in place of 50.0"), tone("Too few seeds to tell from chance")
        ('good', 'unclear')
    """
    return "good" if said.startswith(GOOD) else "bad" if said.startswith(BAD) else "unclear"


def _said(key: str, pairs: Sequence[tuple[float, float]]) -> str:
    """A share in percent after and before, and the mean and spread of its change."""
    changes = [after - before for before, after in pairs]
    before, after = (fmean(side) for side in zip(*pairs, strict=True))
    change = f"{100 * fmean(changes):+.1f}"
    spread = f" ± {100 * stdev(changes):.1f} over {len(changes)} seeds" if len(changes) > 1 else ", one seed"
    return f"{FIGURES[key].heading} {100 * after:.1f} in place of {100 * before:.1f} ({change}{spread})"
