"""What a page is made of: small records, which templates of the same names turn into HTML."""

import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

QUALITY = 80  # of WebP: no blocks to be seen in a thumbnail
THUMBNAIL = 224  # pixels of a thumbnail's longer side: 150 on paper-white screens, and some to spare on sharp ones

Tone = Literal["good", "bad", "unclear"]
Pixels = Image.Image | np.ndarray


@dataclass(frozen=True)
class Picture:
    """A picture inside of the page.

    Args:
        data: the bytes of a WebP, JPEG or PNG file.
        alt: what is to be seen, for those who do not see it; not empty.
        caption: below it; none for none.
    """

    data: bytes = field(repr=False)
    alt: str
    caption: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        with Image.open(io.BytesIO(self.data)) as image:
            return image.size

    @property
    def mime(self) -> str:
        """Its type, as its first bytes tell it."""
        if self.data[8:12] == b"WEBP":
            return "image/webp"
        return "image/jpeg" if self.data[:2] == b"\xff\xd8" else "image/png"


def thumbnail(pixels: Pixels, alt: str, caption: str = "", *, side: int = THUMBNAIL) -> Picture:
    """A small picture of pixels.

    Args:
        pixels: an image, or an array (height, width, 3): uint8, or floats in [0, 1].
        alt: what is to be seen.
        caption: below it.
        side: pixels of the longer side at most; nothing is enlarged.

    Example:
        >>> thumbnail(np.zeros((300, 400, 3)), "a black square", side=100).size
        (100, 75)
    """
    if isinstance(pixels, np.ndarray):
        whole = pixels if pixels.dtype == np.uint8 else (255 * pixels.clip(0, 1)).round().astype(np.uint8)
        pixels = Image.fromarray(whole)
    small = pixels.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY)
    return Picture(file.getvalue(), alt, caption)


@dataclass(frozen=True)
class Verdict:
    """The question and its answer, large.

    Args:
        question: what was asked.
        answer: what came out, in a sentence.
        tone: whether that is good news; said by a colour and a sign.
        more: what else belongs to it, smaller.
    """

    question: str
    answer: str
    tone: Tone = "unclear"
    more: str = ""


@dataclass(frozen=True)
class Step:
    """One of the steps that lead to an answer.

    Args:
        title: what was done.
        figure: what came of it, large.
        text: the same in a sentence.
    """

    title: str
    figure: str
    text: str


@dataclass(frozen=True)
class Steps:
    """What was done, step by step, side by side where there is room."""

    steps: Sequence[Step]


@dataclass(frozen=True)
class Text:
    """Plain paragraphs, with an empty line between two of them."""

    text: str

    @property
    def paragraphs(self) -> list[str]:
        """One by one."""
        return [paragraph.strip() for paragraph in self.text.split("\n\n") if paragraph.strip()]


@dataclass(frozen=True)
class Links:
    """A line that leads to other pages.

    Args:
        text: what they are.
        links: what each is called, and where it lies from here.
    """

    text: str
    links: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Text as it stands, such as a command to paste.

    Args:
        text: the lines.
        caption: what they are.
    """

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        headings: of the columns; the first may be empty.
        rows: row by row, as they are printed.
        note: below it.
        numbers: whether all columns but the first are numbers, put to the right.
        strong: rows and columns of the cells that stand out, counted from 0.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    numbers: bool = True
    strong: Set[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A chart of plotly, with the same figures as a table.

    Args:
        title: above it.
        figure: a plotly figure as a dictionary, of `data` and `layout`; see `report.charts`, which makes them. Names in
            it are to be passed through `charts.plain`, since plotly takes some HTML.
        table: its figures, for those who do not see it or have no JavaScript.
        description: what it shows, in a sentence; may be empty.
        height: in pixels.
    """

    title: str
    figure: Mapping[str, object]
    table: Table
    description: str
    height: int = 320


@dataclass(frozen=True)
class Card:
    """One entry of a gallery: pictures side by side with what is known about them.

    Args:
        title: such as the name of the image.
        pictures: from left to right.
        class_name: to filter by.
        group: to filter by; none for none.
        gain: to sort by; None where there is none.
        facts: names and values, in a line below the title.
        tone: whether its gain is good news.
    """

    title: str
    pictures: Sequence[Picture]
    class_name: str = ""
    group: str = ""
    gain: float | int | None = None
    facts: Sequence[tuple[str, str]] = ()
    tone: Tone = "unclear"


@dataclass(frozen=True)
class Gallery:
    """Cards with filters by class and group, and sorting by gain.

    Args:
        title: above it.
        cards: the most telling ones first: where the page would become too large, the last ones are left out, and the
            page says how many.
        total: of how many the cards were chosen; 0 where these are all.
        gain_name: what is sorted by.
        rule: how the cards were chosen, in words.
        legend: names and colours, such as those of classes.
        ramp: what the colours of attention mean; none for pictures without attention.
    """

    title: str
    cards: Sequence[Card]
    total: int = 0
    gain_name: str = "gain"
    rule: str = ""
    legend: Sequence[tuple[str, str]] = ()
    ramp: str = ""


@dataclass(frozen=True)
class Slide:
    """Two pictures of one size, to slide between.

    Args:
        name: of what is shown.
        before: the first picture.
        after: the second one.
    """

    name: str
    before: Picture
    after: Picture


@dataclass(frozen=True)
class Slider:
    """Slides between two pictures with mouse, finger or keyboard; of several slides one is chosen.

    Args:
        title: above it.
        slides: the first is shown first.
        before: what the first pictures are of.
        after: what the second ones are of.
    """

    title: str
    slides: Sequence[Slide]
    before: str = "before"
    after: str = "after"


@dataclass(frozen=True)
class Details:
    """Parts that are folded away until they are asked for; open on paper.

    Args:
        summary: what is inside.
        parts: the parts.
    """

    summary: str
    parts: Sequence["Part"]


@dataclass(frozen=True)
class Columns:
    """Parts side by side where there is room, otherwise one below the other."""

    parts: Sequence["Part"]


Part = Verdict | Steps | Text | Links | Code | Table | Chart | Gallery | Slider | Details | Columns


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own, named in its list of contents.

    Args:
        title: the heading.
        parts: from top to bottom.
        note: a line below the heading.
    """

    title: str
    parts: Sequence[Part]
    note: str = ""
