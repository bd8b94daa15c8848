"""What happens when somebody does something on the page, without the page: every answer follows from the session."""

import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from wheretolook.app import views
from wheretolook.app.annotate import drawn_names, save_drawing
from wheretolook.app.examples import Examples
from wheretolook.app.shared import SharedNetwork
from wheretolook.app.views import Erased, Fit, Look, Picture, Zone
from wheretolook.errors import DataError, WhereToLookError
from wheretolook.options.objective import Method
from wheretolook.report.style import class_colour

LISTED = 5  # classes in a table of chances
COLOURED = 12  # classes in the list of colours
Pair = tuple[Image.Image, Image.Image]
Zones = tuple[Zone, Zone]  # what was drawn: where to look, and where not


class Settings(NamedTuple):
    """How somebody wants to see: which class, by which method, at which layer.

    Args:
        class_index: None for the likeliest.
        method: how maps are made.
        layer: where attention is read; None for each network's own.
        exclusive: an image shows exactly one class.
    """

    class_index: int | None
    method: Method
    layer: str | None
    exclusive: bool


class Session(NamedTuple):
    """What one person has before them.

    Args:
        picture: the image.
        looks: what each network says of it.
        class_index: whose attention that is.
    """

    picture: Picture
    looks: tuple[Look, ...]
    class_index: int


class Turn:
    """Whose answer counts when one person asks several things at once: the newest question's.

    Example:
        >>> turn = Turn()
        >>> first, second = turn.take(), turn.take()
        >>> turn.is_over(first), turn.is_over(second)
        (True, False)
    """

    def __init__(self) -> None:
        self._latest = 0

    def take(self) -> int:
        """The number of a question that is asked now."""
        self._latest += 1
        return self._latest

    def is_over(self, number: int) -> bool:
        """Whether something newer has been asked."""
        return number != self._latest


class Desk:
    """Networks, images and a folder for drawings, shared by everybody.

    Args:
        networks: one, or that before guidance and that after it, of the same classes.
        examples: the images that are offered; None for none.
        out: the plain folder that drawings are kept in.
        fit: at which size the networks take what is dropped; None for its own, up to `views.LONGEST`.
        folders: further ones that no visitor is told of, such as that of the examples.
    """

    def __init__(
        self,
        networks: Sequence[SharedNetwork],
        examples: Examples | None,
        out: Path,
        fit: Fit | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        self._folders = (out, *folders)
        self.networks, self.examples, self.out, self.fit = tuple(networks), examples, out, fit or Fit()
        self.class_names = networks[0].network.class_names
        self.titles = ["before", "after"] if len(networks) == 2 else [networks[0].title]

    @property
    def segments(self) -> bool:
        """Whether any of the networks segments."""
        return any(shared.network.segments for shared in self.networks)

    def told(self, error: WhereToLookError) -> str:
        """What a visitor is told of what went wrong: nothing of where things lie on this machine."""
        return without_folders(str(error), self._folders)

    def open_upload(self, path: Path) -> Picture:
        """An image that somebody has dropped.

        Raises:
            DataError: it is none, broken, or too large; in words without the folders of this machine.
        """
        try:
            return views.open_picture(path, self.fit)
        except DataError as error:
            raise DataError(without_folders(str(error), [path.parent])) from error

    def look(self, picture: Picture, settings: Settings) -> Session:
        """Run an image through the networks.

        Raises:
            WhereToLookError: a network takes no such image, or has no such maps.
        """
        looks, chosen = [], settings.class_index
        for shared in self.networks:
            with shared.at(settings.layer) as network:
                chosen, seen = views.look(
                    network, picture.pixels, chosen, settings.method, exclusive=settings.exclusive
                )
            looks.append(seen)
        assert chosen is not None
        return Session(picture, tuple(looks), chosen)

    def attention(self, session: Session, opacity: float) -> Pair:
        """Attention before and after; of a single network, beside the image."""
        drawn = views.attention_pictures(session.picture.pixels, session.looks, opacity)
        return self._pair(session, drawn)

    def segmentation(self, session: Session) -> Pair:
        """Segmentation before and after, or beside the image."""
        pixels = session.picture.pixels
        drawn = [
            Image.fromarray(pixels if seen.prediction is None else views.segmentation_picture(pixels, seen.prediction))
            for seen in session.looks
        ]
        return self._pair(session, drawn)

    def erase(self, session: Session, settings: Settings, threshold: float) -> tuple[Pair, str]:
        """What is left without the attended region, and how the chances fall."""
        erased = []
        for shared, seen in zip(self.networks, session.looks, strict=True):
            with shared.at(settings.layer) as network:
                erased.append(
                    views.erase(
                        network, session.picture.pixels, seen.attention, threshold, exclusive=settings.exclusive
                    )
                )
        pair = self._pair(session, [Image.fromarray(each.pixels) for each in erased])
        return pair, self._table_of_falls(session, erased)

    def colours(self, session: Session) -> str:
        """Which class has which colour in the segmentations, the largest first, as a list of HTML."""
        found = [seen.prediction for seen in session.looks if seen.prediction is not None]
        areas = np.bincount(np.concatenate([prediction.ravel() for prediction in found]), minlength=1)[1:]
        present = [int(index) for index in np.argsort(-areas, kind="stable") if areas[index]]
        if not present:
            return hint("No class has a pixel: all is background.")
        items = [(class_colour(index), self.class_names[index]) for index in present[:COLOURED]]
        more = f"<li>and {len(present) - COLOURED} more</li>" if len(present) > COLOURED else ""
        swatches = "".join(
            f'<li><span style="background: {colour}"></span>{escape(name)}</li>' for colour, name in items
        )
        return f'<ul class="colours" aria-label="Colours">{swatches}{more}</ul>'

    def chances(self, session: Session) -> str:
        """The chances of the likeliest classes, and of the one that is looked at, as a table of HTML."""
        rows = [
            [self._name(index, session), *(_percent(float(seen.chances[index])) for seen in session.looks)]
            for index in self._listed(session)
        ]
        return _table(["how likely", *self.titles], rows)

    def ranking(self, session: Session) -> list[tuple[str, int]]:
        """Every class with its chance in the first network, the likeliest first, and its number."""
        chances = session.looks[0].chances
        order = np.argsort(-chances, kind="stable").tolist()
        return [(f"{self.class_names[index]} · {_percent(float(chances[index]))}", index) for index in order]

    def inside(self, session: Session, zones: Zones) -> str:
        """How much of each network's attention lies in what was drawn, as a table of HTML; empty where nothing was."""
        rows = []
        for name, zone in zip(("look here", "not here"), zones, strict=True):
            if zone.any():
                found = [views.inside(seen.attention, zone) for seen in session.looks]
                rows.append([name, *(_percent(each.energy) for each in found), _percent(found[0].area)])
        return _table(["attention in", *self.titles, "of the image"], rows) if rows else ""

    def save(self, session: Session, zones: Zones) -> str:
        """Keep the drawing; says in which files.

        Raises:
            DataError: nothing is drawn, or it cannot be kept.
        """
        written = save_drawing(self.out, session.picture, self.class_names, session.class_index, *zones)
        names = [str(path.relative_to(self.out)) for path in written]
        return f"{self.class_names[session.class_index]} is saved: {', '.join(names)}"

    def next_example(self, session: Session | None) -> str:
        """The name of the next image without annotation.

        Raises:
            DataError: there is none.
        """
        name = None if session is None else session.picture.name
        found = None if self.examples is None else self.examples.after(name, drawn_names(self.out))
        if found is None:
            raise DataError("every image has an annotation by now; drop another one, or choose one to mend")
        return found

    def about(self, picture: Picture) -> str:
        """What an image is called, its size, and why it is suggested, where it is."""
        height, width = picture.size
        reason = None if self.examples is None else self.examples.reasons.get(picture.name)
        return f"{picture.name}, {width}x{height} pixels" + (f"; suggested: {reason}" if reason else "")

    def _pair(self, session: Session, drawn: Sequence[Image.Image]) -> Pair:
        if len(drawn) == 2:
            return drawn[0], drawn[1]
        return Image.fromarray(session.picture.pixels), drawn[0]

    def _listed(self, session: Session) -> list[int]:
        first = [index for _, index in self.ranking(session)[:LISTED]]
        return first if session.class_index in first else [*first, session.class_index]

    def _name(self, index: int, session: Session) -> str:
        mark = "►\N{NO-BREAK SPACE}" if index == session.class_index else ""
        return mark + self.class_names[index]

    def _table_of_falls(self, session: Session, erased: Sequence[Erased]) -> str:
        rows = []
        for index in self._listed(session):
            cells = [self._name(index, session)]
            for seen, left in zip(session.looks, erased, strict=True):
                cells += [f"{_percent(float(seen.chances[index]))} → {_percent(float(left.chances[index]))}"]
            rows.append(cells)
        return _table(["class, whole → erased", *self.titles], rows)


def said(words: str) -> str:
    """One line on what was wrong, as HTML."""
    return f'<div class="said" role="alert">{escape(words)}</div>'


def hint(words: str) -> str:
    """What helps, as HTML."""
    return f'<div class="hint">{escape(words)}</div>'


def without_folders(words: str, folders: Iterable[Path]) -> str:
    """What is told to visitors: where things lie on this machine is nobody's business.

    Args:
        words: what went wrong.
        folders: those that may stand there; of what lies in them the way from there is left.

    Example:
        >>> without_folders("/srv/x/masks/a.png is broken; look into /srv/x", [Path("/srv/x")])
        'masks/a.png is broken; look into x'
    """
    for folder in sorted({str(way) for one in folders for way in (one, one.resolve())}, key=len, reverse=True):
        if folder not in (os.curdir, os.sep):
            words = words.replace(folder + os.sep, "")
            words = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w/-])", Path(folder).name, words)
    return words


def _percent(share: float) -> str:
    """A share as people read it.

    Example:
        >>> _percent(0.7714), _percent(0.0004), _percent(0.031)
        ('77 %', '0.04 %', '3.1 %')
    """
    percent = 100 * share
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML; whatever is in the cells is text."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{' class=chosen' if row[0].startswith('►') else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
