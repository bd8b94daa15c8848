"""The pictures of an audit: images with attention over them, and the patches that images of a class share."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from wheretolook.data.dataset import ImageDataset
from wheretolook.evaluation.audit import Audit, ClassAudit
from wheretolook.evaluation.contexts import Context, Patch
from wheretolook.evaluation.exchange import Trial
from wheretolook.evaluation.explain import explain
from wheretolook.evaluation.pairs import PairFigures
from wheretolook.options.audit import RuleOptions
from wheretolook.records import GuidedNetwork, collate
from wheretolook.report.components import THUMBNAIL, Card, Picture, thumbnail
from wheretolook.report.overlay import overlay, sized
from wheretolook.report.sheet import SheetCell, end_of, picture_sheet

PATCHES_SHOWN = 6  # of a context
LEAST_IMAGES = 3  # that share a patch, for it to be shown
SIDE = 96  # pixels of a patch


class AuditPictures(NamedTuple):
    """What a page of an audit shows."""

    wrong_reasons: list[Card]  # right, with attention off the object
    wrong: list[Card]
    contexts: list[Card]  # patches that many images of a class share


def audit_pictures(
    network: GuidedNetwork, dataset: ImageDataset, audit: Audit, rule: RuleOptions, count: int
) -> AuditPictures:
    """Draw what an audit found.

    Args:
        network: that was audited.
        dataset: the images.
        audit: what was found.
        rule: says what is off the object.
        count: most pictures of each kind.
    """
    numbers = {name: number for number, name in enumerate(dataset.names)}
    trials = {(trial.name, trial.class_index): trial for trial in audit.trials}
    wrong_reasons, wrong = (
        [_card(network, dataset, numbers, pair, trials.get((pair.name, pair.class_index))) for pair in pairs[:count]]
        for pairs in (audit.wrong_reasons(rule), audit.wrong())
    )
    return AuditPictures(wrong_reasons, wrong, [_context_card(dataset, numbers, *one) for one in shared(audit)[:count]])


def _card(
    network: GuidedNetwork, dataset: ImageDataset, numbers: dict[str, int], pair: PairFigures, trial: Trial | None
) -> Card:
    """An image beside its attention for a class."""
    found = explain(network, [collate([dataset[numbers[pair.name]]])], only_annotated=False)
    shown = next(one for one in found if one.class_index == pair.class_index)
    pixels = sized(shown.image, THUMBNAIL)
    pictures = [
        thumbnail(pixels, f"{pair.name}, which shows {pair.class_name}", "image"),
        thumbnail(
            overlay(pixels, shown.attention), f"attention for {pair.class_name} in {pair.name}", "where it looks"
        ),
    ]
    facts = [("called", pair.predicted), ("probability", f"{100 * pair.probability:.0f} %")]
    if pair.annotated:
        facts.append(("on the object", f"{100 * pair.energy:.0f} %, of a uniform map {100 * pair.chance:.0f} %"))
    if trial is not None and "object_erased" in trial.right:
        facts.append(("without the object", "recognised" if trial.right["object_erased"] else "not recognised"))
    if trial is not None and trial.predicted is not None:
        facts.append(("on another's background", f"called {network.class_names[trial.predicted]}"))
    gain = pair.energy / pair.chance if pair.annotated else None
    return Card(pair.name, pictures, pair.class_name, pair.group, gain, facts, "bad")


def shared(audit: Audit) -> list[tuple[ClassAudit, Context]]:
    """What many images of a class share, the most common one of each class first.

    Args:
        audit: what was found.
    """
    found = [
        (place, one, context)
        for one in audit.classes
        for place, context in enumerate(one.contexts)
        if context.images >= LEAST_IMAGES
    ]
    return [(one, context) for place, one, context in sorted(found, key=lambda each: (each[0], -each[2].share))]


def _context_card(dataset: ImageDataset, numbers: dict[str, int], of: ClassAudit, context: Context) -> Card:
    pictures = [_patch_picture(dataset, numbers, patch.name, patch.box) for patch in context.patches[:PATCHES_SHOWN]]
    facts = [("images", f"{context.images} of {of.evidence.images}"), ("likeness", f"{context.likeness:.2f} of 1")]
    return Card(f"{of.name}: in {100 * context.share:.0f} % of its images", pictures, of.name, "", context.share, facts)


def recorded_patches(dataset: ImageDataset, context: Mapping[str, Any]) -> list[Picture]:
    """The patches of a context of an audit's record.

    Args:
        dataset: the images that were audited.
        context: as `report.audit.audit_record` has it.
    """
    numbers = {name: number for number, name in enumerate(dataset.names)}
    patches = [(patch["image"], patch["box"]) for patch in context["patches"] if patch["image"] in numbers]
    return [_patch_picture(dataset, numbers, *patch) for patch in patches[:PATCHES_SHOWN]]


def _patch_picture(dataset: ImageDataset, numbers: dict[str, int], name: str, box: Sequence[int]) -> Picture:
    return thumbnail(_pixels(dataset, numbers, name, box), f"patch of {name}", side=SIDE)


def _pixels(dataset: ImageDataset, numbers: dict[str, int], name: str, box: Sequence[int]) -> Image.Image:
    """A patch, enlarged to a common height."""
    left, top, right, bottom = box
    image = dataset[numbers[name]].image[:, top:bottom, left:right]
    pixels = Image.fromarray((255 * image.permute(1, 2, 0).cpu().numpy()).round().astype(np.uint8))
    return pixels.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def contexts_sheet(dataset: ImageDataset, audit: Audit, path: Path, count: int) -> None:
    """Draw the patches that images of a class share, a row for each kind; nothing where none are shared.

    Args:
        dataset: the images.
        audit: what was found.
        path: the PNG.
        count: most rows.

    Raises:
        DataError: `path` cannot be written.
    """
    numbers = {name: number for number, name in enumerate(dataset.names)}
    cells = [cell for one in shared(audit)[:count] for cell in _row(dataset, numbers, *one)]
    if cells:
        about = "the most attended cells beside the objects, clustered by the network's own features; a row a cluster"
        picture_sheet(cells, path, title="What attracts attention", about=about, columns=PATCHES_SHOWN, side=0.85)


def _row(dataset: ImageDataset, numbers: dict[str, int], of: ClassAudit, context: Context) -> Iterator[SheetCell]:
    patches: Sequence[Patch | None] = [*context.patches[:PATCHES_SHOWN], *[None] * PATCHES_SHOWN][:PATCHES_SHOWN]
    for place, patch in enumerate(patches):
        pixels = (
            np.ones((SIDE, SIDE, 3))
            if patch is None
            else np.asarray(_pixels(dataset, numbers, patch.name, patch.box)) / 255
        )
        name = "" if patch is None else end_of(patch.name, 22)
        head = f"{end_of(of.name, 14)}: {context.images} of {of.evidence.images}"
        yield SheetCell(pixels, [head, name] if place == 0 else [name])
