"""A page in one file: no request to anywhere, opened from disk, printed, read in the dark, by keyboard or aloud."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from wheretolook.files import finite, write_text
from wheretolook.report.components import Card, Chart, Columns, Details, Gallery, Part, Picture, Section, Slider

PICTURES_BUDGET = 1_750_000  # bytes of all pictures of a page, a third more in base64: with plotly's 4.9 MB under 8 MB


@dataclass
class _Budget:
    """The bytes that are left for pictures."""

    left: int

    def take(self, pictures: Sequence[Picture]) -> bool:
        """Whether they fit; if so, they are counted."""
        size = sum(len(picture.data) for picture in pictures)
        if size > self.left:
            return False
        self.left -= size
        return True


def write_page(path: Path, title: str, sections: Sequence[Section], *, subtitle: str = "") -> None:
    """Write a page as one self-contained HTML file, whole or not at all.

    Everything is escaped: names of classes and files come out as they are. A Content-Security-Policy forbids every
    request, and every script but the two that are written here.

    Args:
        path: the file.
        title: of the page.
        sections: from top to bottom. What stands first is sure to keep its pictures, should they become too many.
        subtitle: below the title, such as the folder of a run.

    Raises:
        DataError: `path` cannot be written.
    """
    write_text(path, rendered(title, sections, subtitle=subtitle))


def rendered(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """The page's HTML; see `write_page`."""
    budget = _Budget(PICTURES_BUDGET)
    sections = [replace(section, parts=_fitted(section.parts, budget)) for section in sections]
    scripts = [_source("page.js")]
    if any(isinstance(part, Chart) for section in sections for part in _all_parts(section.parts)):
        scripts.insert(0, _plotly())
    page = _environment().get_template("page.html")
    return page.render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        scripts=scripts,
        hashes=[_digest(script) for script in scripts],
        style=_source("page.css"),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wheretolook.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = count(1)
    environment.globals["fresh"] = lambda kind: f"{kind}-{next(numbers)}"  # no id comes twice
    environment.globals["values"] = _values
    environment.filters["kind"] = lambda part: type(part).__name__.lower()
    environment.filters["finite"] = finite
    environment.filters["whole"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
    environment.filters["base64"] = lambda data: b64encode(data).decode()
    return environment


def _source(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's own script, as browsers read it: with line feeds alone, so that its digest is theirs."""
    from plotly.offline import get_plotlyjs  # 0.3 s that a page without charts need not take

    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _digest(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _values(cards: Sequence[Card], name: str) -> list[str]:
    """What there is to choose from in a filter: the values of the cards, sorted; none where all are alike."""
    found = sorted({getattr(card, name) for card in cards} - {""})
    return found if len(found) > 1 else []


def _all_parts(parts: Sequence[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        if isinstance(part, Details | Columns):
            yield from _all_parts(part.parts)


def _fitted(parts: Sequence[Part], budget: _Budget) -> list[Part]:
    """The parts with no more cards and slides than there is room for, the first ones first."""
    fitted: list[Part] = []
    for part in parts:
        match part:
            case Gallery():
                cards = list(takewhile(lambda card: budget.take(card.pictures), part.cards))
                part = replace(part, cards=cards, total=max(part.total, len(part.cards)))
            case Slider():
                slides = list(takewhile(lambda slide: budget.take((slide.before, slide.after)), part.slides))
                part = replace(part, slides=slides)
            case Details() | Columns():
                part = replace(part, parts=_fitted(part.parts, budget))
        fitted.append(part)
    return fitted
