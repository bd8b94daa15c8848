"""What a class's figures amount to, in plain words, by a rule that is printed with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wheretolook.evaluation.intervals import Interval, share_interval
from wheretolook.options.audit import RuleOptions

Word = Literal["fine", "suspicious", "shortcut", "too few to say"]
WORDS: tuple[Word, ...] = ("shortcut", "suspicious", "too few to say", "fine")  # the worst first


@dataclass(frozen=True)
class Verdict:
    """What is said of a class.

    Args:
        word: the verdict.
        why: in a few words, as a sentence.
        facts: the numbers that it rests on, in sentences.
    """

    word: Word
    why: str
    facts: str = ""

    @property
    def reason(self) -> str:
        """Why, with the numbers."""
        return f"{self.why} {self.facts}".strip()


@dataclass(frozen=True)
class Evidence:
    """The figures of a class that its verdict rests on.

    Args:
        images: how many show the class.
        annotated: those of them with a mask or box of it.
        tried: those of them whose background was exchanged for both, one of the class and one of another.
        recognised: share of its images in which the network says so.
        mistaken: share of the other images in which it says so as well.
        rates: share that is right, by change of the image.
        fall: of that share, from a background of the class to one of another class.
        follows: share that is called by a class of the image that lent the background.
        focus: how far attention goes from chance to the best that the grid of features allows.
        energy: mean share of attention on the object; chance, and ceiling, are its bounds.
        chance: that of uniform maps.
        ceiling: that of perfect maps on the network's grid.
        border: attention near the edges of images, over that of uniform maps.
    """

    images: int
    annotated: int
    tried: int
    recognised: Interval
    mistaken: float
    rates: Mapping[str, float]
    fall: Interval
    follows: float
    focus: Interval
    energy: float
    chance: float
    ceiling: float
    border: Interval


def judged(found: Evidence, rule: RuleOptions) -> Verdict:
    """The verdict on a class.

    - *too few to say*: fewer than `least_images` of its images have a mask or box, or backgrounds to exchange.
    - *shortcut*: accuracy surely falls by more than `large_fall` when the background of an image of the class makes
      place for another class's.
    - *suspicious*: the class is not surely recognised better than by chance; or accuracy surely falls by more than
      `small_fall`; or attention is surely less on the object than `least_focus` asks.
    - *fine*: none of that, accuracy surely falls by less than `large_fall`, attention is surely more on the object
      than chance, and the class is surely recognised better than by chance in front of other backgrounds of its own:
      a class that is hardly recognised there cannot fall by much, whatever it is recognised by.
    - Else *too few to say*: the images leave it open.

    What the network does weighs more than where it looks: a cell of its features may lie on the object and yet have
    seen all of the image.

    "Surely" is of 95 % intervals.

    Args:
        found: the class's figures.
        rule: the thresholds.
    """
    if found.annotated < rule.least_images or found.tried < rule.least_images:
        return _without_masks(found, rule)
    fall, focus = found.fall, found.focus
    facts = f"{_behaviour(found)} {_attention(found)}"
    if fall.low > rule.large_fall:
        though = ", though attention is partly on the object" if focus.low > rule.least_focus else ""
        return Verdict("shortcut", f"Recognised by its background{though}.", facts)
    if found.recognised.low <= found.mistaken:
        return Verdict("suspicious", "Not surely recognised better than by chance.", facts)
    if fall.low > rule.small_fall:
        return Verdict("suspicious", "Its background helps.", facts)
    if focus.high < rule.least_focus:
        return Verdict("suspicious", "Attention is hardly on the object.", facts)
    pasted = share_interval(round(found.rates["own_background"] * found.tried), found.tried)
    if fall.high < rule.large_fall and focus.low > 0 and pasted.low > found.mistaken:
        often = "Recognised" if found.recognised.value >= 0.5 else "Where it is recognised, then"
        return Verdict("fine", f"{often} by the object.", facts)
    return Verdict("too few to say", "The images leave it open.", facts)


def _without_masks(found: Evidence, rule: RuleOptions) -> Verdict:
    few = (
        f"{found.annotated} of its {found.images} images have a mask or box, {found.tried} could be tried before other "
        f"backgrounds, {rule.least_images} are needed."
    )
    if found.images >= rule.least_images and found.border.low > rule.border_over_chance:
        border = f"Attention lies on the border of images, {found.border.value:.1f} times chance."
        return Verdict("suspicious", border, few)
    return Verdict("too few to say", few)


def _behaviour(found: Evidence) -> str:
    own, other = (found.rates[change] for change in ("own_background", "other_background"))
    return (
        f"Right in {_percent(found.recognised.value)} of {found.images} images; in front of the background of another "
        f"image of the class in {_percent(own)} of {found.tried}, of another class's in {_percent(other)}: a fall of "
        f"{_points(found.fall)} points, and {_percent(found.follows)} are called what belongs to that background. "
        f"Without the object still in {_percent(found.rates['object_erased'])}."
    )


def _attention(found: Evidence) -> str:
    return (
        f"{_percent(found.energy)} of attention on the object, by chance {_percent(found.chance)}, at best "
        f"{_percent(found.ceiling)}: {_points(found.focus)} % of the way."
    )


def _points(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "an unknown number of"
    return f"{100 * interval.value:.0f} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def _percent(share: float) -> str:
    return "none" if math.isnan(share) else f"{100 * share:.0f} %"
