"""The options of audits and repairs, and what they hold a class to."""

from dataclasses import dataclass, field

from wheretolook.options.commands import Shortcut, SuggestRule, validation_data
from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import MiningOptions, MixedBackgroundOptions, ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions


@dataclass(frozen=True)
class RuleOptions:
    """When a class is fine, suspicious, or recognised by a shortcut.

    Args:
        least_images: images of a class with masks or boxes below which nothing is said of it.
        large_fall: of accuracy, from the background of another image of the class to that of another class's image: a
            shortcut where it surely falls by more, fine only where it surely falls by less.
        small_fall: a fall that is surely larger than this is suspicious.
        least_focus: share of the way from chance to the best that the network's grid of features allows that attention
            should go towards the object; surely less is suspicious.
        border_over_chance: attention on the border of images, over that of a uniform map, that is suspicious where it
            is surely more and neither masks nor boxes say where the object is.
        off_object: attention on the object, over chance, up to which an answer that is right is right for the wrong
            reason.
    """

    least_images: int = 8
    large_fall: float = 0.25
    small_fall: float = 0.05
    least_focus: float = 0.2
    border_over_chance: float = 1.5
    off_object: float = 1.0


@dataclass(frozen=True)
class Audit:
    """Find out whether a network looks at the wrong thing, and whether it matters: a verdict for each class.

    Any network, guided or not. Where masks or boxes show the objects, they are erased, and put before other images'
    backgrounds. The exit code is 1 where a bar is missed, for continuous integration.

    Args:
        weights: a run folder or weights file; none for the network that the network's options make, with the weights
            that they give it.
        out: folder for audit.json, classes.csv, pairs.csv and pictures.
        limit: images of each class that are changed at most, spread over the split.
        mark: what is put into a corner or around images to see whether it distracts: a tag (a letter on a label), a
            patch (a grey square), a background or a frame, of another class each.
        pictures: how many images of each kind are drawn.
        fail_under: bars, such as energy_pointing=0.5, of any figure of which more is better: exit code 1 below.
        fail_over: the same of figures of which less is better, such as empty_maps=0.1: exit code 1 above.
        max_shortcut_classes: exit code 1 where more classes than that are recognised by a shortcut; none for no bar.
        seed: of whose background is lent to whom, and of the marks.
        accelerator: cpu, cuda, mps or auto.
        rule: when a class is fine, suspicious or recognised by a shortcut.
        data: the images; give data.resize where the network was trained on resized ones.
        network: which network the weights are of, where they do not say.
    """

    weights: str | None = None
    out: str = "runs/audit"
    limit: int = 50
    mark: Shortcut = "tag"
    pictures: int = 12
    fail_under: list[str] = field(default_factory=list)
    fail_over: list[str] = field(default_factory=list)
    max_shortcut_classes: int | None = None
    seed: int = 0
    accelerator: str = "auto"
    rule: RuleOptions = field(default_factory=RuleOptions)
    data: DataOptions = field(default_factory=validation_data)
    network: NetworkOptions = field(default_factory=NetworkOptions)


def _repairing_objective() -> ObjectiveOptions:
    """What moved accuracy most where backgrounds were a shortcut: see benchmarks/RESULTS.md."""
    return ObjectiveOptions(
        mining=MiningOptions(weight=0.0),
        mixed_background=MixedBackgroundOptions(weight=1.0),
        freeze_classifier=False,
    )


def _repairing_training() -> TrainingOptions:
    return TrainingOptions(steps=150, optimiser="adamw", learning_rate=3e-4)


@dataclass(frozen=True)
class Repair:
    """Audit a network, say what to annotate, guide it by what is annotated, audit it again, and say what came of it.

    Stops once it has said which images to annotate (`suggested.txt`, `suggested.png`), unless all of them are. The same
    command goes on from there: it skips what is done.

    Args:
        weights: the network to repair: a run folder or weights file; none for the one that the network's options make.
        out: folder of all that comes of it; open repair.html there.
        count: how many images to annotate.
        suggest: how they are chosen; see the command suggest.
        propagate: guide by where objects probably are in the images that are not annotated, too.
        limit: images of each class that an audit changes at most.
        rule: when a class is fine, suspicious or recognised by a shortcut.
        data: the images: those of split are guided by, those of val_split are audited.
        network: which network the weights are of, where they do not say.
        objective: what guides; by default objects are recognised in front of other images' backgrounds.
        training: budget and optimiser of guidance.
        hardware: what to run on.
    """

    weights: str | None = None
    out: str = "runs/repair"
    count: int = 25
    suggest: SuggestRule = "confident_elsewhere"
    propagate: bool = True
    limit: int = 50
    rule: RuleOptions = field(default_factory=RuleOptions)
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    objective: ObjectiveOptions = field(default_factory=_repairing_objective)
    training: TrainingOptions = field(default_factory=_repairing_training)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)
