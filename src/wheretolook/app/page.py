"""The page: its parts, and what is called when somebody uses them. Each session has its own state."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch

from wheretolook.app.desk import Desk, Session, Settings, Turn, Zones, hint, said
from wheretolook.app.views import AVOID_COLOUR, LOOK_COLOUR, Picture, drawn_zones
from wheretolook.errors import DataError, WhereToLookError

Parts = tuple[Any, ...]  # what becomes of each part of the page that a function may change
AT_ONCE = 2  # requests that use a network; others wait
KEPT = 3600  # seconds that a session without any click, and an upload, is kept
SWEPT = 300  # seconds between two looks at what is to be thrown away
OPACITY, THRESHOLD = 0.7, 0.5
HEIGHT = 520  # pixels of pictures
BRUSHES = 20  # strokes side by side that cover a picture, along its shorter side
DRAWN_OVER = "Green: here it should look for the class. Red: here it must not, whatever the class."
HELLO = "Drop an image{or_example}: the page shows which parts of it the network looks at for each class."
FIRST = "there is no image yet: drop one{or_example} first"
ERASING = (
    "The image without what the network attends to: a class whose chance falls was recognised by that. "
    "It is what the mining loss sees."
)
SCALE = "The brighter, the more attention{both}. Lines: 20 % (fine) and 50 % (bold) of each map's own maximum."
CSS = """
.gradio-container {width: 100%; max-width: 1240px !important; margin: 0 auto !important}
.gradio-container main {padding-top: .8rem !important}
.gradio-container .column {width: 100%}
h1.title {font-size: 1.35rem !important; margin: 0 !important}
.hint, .said {font-size: .9rem; overflow-wrap: anywhere}
.hint {color: var(--body-text-color-subdued)}
.said {padding: .5rem .7rem; border-radius: 6px; border: 1px solid var(--error-border-color);
  background: var(--error-background-fill); color: var(--body-text-color)}
ul.colours {list-style: none !important; margin: 0 !important; padding: 0 !important; display: flex; flex-wrap: wrap;
  gap: .2rem 1rem; font-size: .9rem}
ul.colours li {display: inline-flex; align-items: center; gap: .4rem; margin: 0 !important; overflow-wrap: anywhere}
ul.colours span {width: .9rem; height: .9rem; border-radius: 3px; flex: none}
table.figures {width: 100%; margin: 0 !important; border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums}
table.figures, table.figures :is(thead, tbody, tr) {border: 0 !important}
table.figures :is(th, td) {border: 0 !important; padding: .25rem .4rem !important; text-align: right !important;
  white-space: nowrap}
table.figures td {border-top: 1px solid var(--border-color-primary) !important}
table.figures th {font-weight: 500 !important; color: var(--body-text-color-subdued)}
table.figures :is(th, td):first-child {text-align: left !important; white-space: normal; overflow-wrap: break-word}
table.figures tr.chosen td {font-weight: 600}
@media (max-width: 700px) {#pictures {order: -1}}
"""


def theme() -> Any:
    """The page's colours and letters: the reader's own fonts, since nothing is fetched."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(  # what is read second has 4.5:1 too, and white on a button under the mouse
        body_text_color_subdued="*neutral_600",
        button_primary_background_fill_hover="*primary_700",
    )


class Page:
    """The parts of the page, and their wiring.

    Args:
        desk: what answers.
        exclusive: whether images show exactly one class, until somebody says otherwise.

    Attributes:
        blocks: what Gradio serves.
    """

    def __init__(self, desk: Desk, *, exclusive: bool) -> None:
        self.desk = desk
        self.blocks = gr.Blocks(title="wheretolook", analytics_enabled=False, delete_cache=(SWEPT, KEPT))
        with self.blocks:
            self.session, self.turn = gr.State(None, time_to_live=KEPT), gr.State(Turn(), time_to_live=KEPT)
            self._head()
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    self._settings(exclusive)
                with gr.Column(scale=5, min_width=320, elem_id="pictures"):
                    self._tabs()
            self._wire()

    def _head(self) -> None:
        """What the page is of, what is wrong, and the ways to an image."""
        networks = " · ".join(
            f"{title}: {shared.title}" if title != shared.title else title
            for title, shared in zip(self.desk.titles, self.desk.networks, strict=True)
        )
        gr.HTML(
            f'<h1 class="title">Where does it look?</h1>{hint(networks)}',
            padding=False,
        )
        examples = self.desk.examples
        with gr.Row():
            self.file = gr.File(label="Drop an image", file_types=["image"], height=130, min_width=240, elem_id="file")
            self.example = gr.Dropdown(
                list(examples.names) if examples else [],
                value=None,
                label="or choose an example",
                visible=examples is not None,
                min_width=240,
                elem_id="example",
            )
            self.class_index = gr.Dropdown([], value=None, label="Class", min_width=240, elem_id="class")
        hello = HELLO.format(or_example=self._or_example)
        self.status = gr.HTML(hint(hello), elem_id="status", padding=False)

    @property
    def _or_example(self) -> str:
        return " or choose an example" if self.desk.examples else ""

    def _settings(self, exclusive: bool) -> None:
        networks = self.desk.networks
        self.numbers = gr.HTML("", elem_id="chances", padding=False)
        self.opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", elem_id="opacity")
        with gr.Accordion("How attention is made", open=False):
            self.method = gr.Dropdown(
                [(name.replace("_", " "), name) for name in networks[0].methods],
                value=networks[0].network.attention,
                label="Method",
                elem_id="method",
            )
            layers = networks[0].layers
            self.layer = gr.Dropdown(
                [(f"{name} ({width}x{height})", name) for name, (height, width) in layers.items()],
                value=networks[0].layer,
                label="Layer",
                visible=len(layers) > 1,
                elem_id="layer",
            )
            self.exclusive = gr.Checkbox(exclusive, label="An image shows exactly one class", elem_id="exclusive")

    def _tabs(self) -> None:
        both = "before | after" if len(self.desk.titles) == 2 else "image | attention"
        with gr.Tab("Look"):
            self.attention = self._slider(f"Attention: {both}", "attention")
            one_scale = ", before and after on one scale" if len(self.desk.titles) == 2 else ""
            gr.HTML(hint(SCALE.format(both=one_scale)), padding=False)
            self.segmentation = self._slider(f"Segmentation: {both.replace('attention', 'segmentation')}", "masks")
            self.segmentation.visible = self.desk.segments
            self.colours = gr.HTML("", elem_id="colours", padding=False, visible=self.desk.segments)
        with gr.Tab("Erase"):
            gr.HTML(hint(ERASING), padding=False)
            with gr.Row():
                self.threshold = gr.Slider(
                    0.1, 0.9, THRESHOLD, step=0.05, label="Erase where attention is above", elem_id="threshold"
                )
                self.erase = gr.Button("Erase", variant="primary", min_width=120, scale=0, elem_id="erase")
            self.falls = gr.HTML("", elem_id="falls", padding=False)
            self.erased = self._slider(f"Erased: {both.replace('attention', 'erased')}", "erased")
        with gr.Tab("Draw"):
            self._sheet()

    def _sheet(self) -> None:
        """What is drawn on, and what becomes of it."""
        gr.HTML(hint(DRAWN_OVER), padding=False)
        self.editor = gr.ImageEditor(
            label="Draw",
            type="numpy",
            image_mode="RGBA",
            sources=(),
            transforms=(),
            layers=False,
            brush=_brush(None),
            height=HEIGHT,
            elem_id="editor",
        )
        self.inside = gr.HTML("", elem_id="inside", padding=False)
        with gr.Row():
            self.save = gr.Button("Save the drawing", variant="primary", min_width=140, elem_id="save")
            self.next = gr.Button("Next image", visible=self.desk.examples is not None, min_width=140, elem_id="next")

    def _slider(self, label: str, name: str) -> Any:
        return gr.ImageSlider(label=label, interactive=False, max_height=HEIGHT, format="jpeg", elem_id=name)

    def _wire(self) -> None:
        """What is called when: a slow answer holds up nobody else, and a newer question's takes its place."""
        settings = [self.class_index, self.method, self.layer, self.exclusive, self.opacity]
        seen = [self.session, self.status, self.class_index, self.numbers, self.attention, self.segmentation]
        seen += [self.colours]
        fresh = [*seen, self.editor, self.inside, self.falls, self.erased, self.file, self.example]
        sheet, drawn = [self.session, self.editor], [self.status, self.inside]
        self._asks(self.file.upload, self._upload, [self.file, *settings], fresh)
        self._asks(self.example.input, self._example, [self.example, *settings], fresh)
        self._asks(self.next.click, self._next, [self.session, *settings], fresh)
        for part in (self.class_index, self.method, self.layer, self.exclusive):
            self._asks(part.input, self._change, [*sheet, *settings], [*seen, self.inside])
        erasing = [self.session, *settings, self.threshold], [self.status, self.falls, self.erased]
        self._asks(self.erase.click, self._erase, *erasing)
        self._asks(self.threshold.input, self._erase, *erasing, mode="always_last")
        repainting = [self.session, self.opacity], [self.status, self.attention]
        self._on(self.opacity.input, self._repaint, *repainting, mode="always_last")
        self._on(self.editor.input, self._draw, sheet, drawn)
        self._on(self.save.click, self._save, sheet, drawn)

    def _asks(
        self,
        trigger: Any,
        function: Callable[..., Any],
        inputs: list[Any],
        outputs: list[Any],
        mode: str = "multiple",
    ) -> None:
        """The networks are asked: what is asked later need not wait, and an answer that comes too late is dropped."""

        def newest(turn: Turn, *values: Any) -> Any:
            number = turn.take()
            result = function(*values)
            return None if turn.is_over(number) else result

        self._on(trigger, newest, [self.turn, *inputs], outputs, "networks", mode)

    def _on(
        self,
        trigger: Any,
        function: Callable[..., Any],
        inputs: list[Any],
        outputs: list[Any],
        queue: str = "pictures",
        mode: str = "multiple",
    ) -> None:
        """An event is answered: a click that hangs does not stop the next, and of a slider the last place counts."""
        trigger(
            _telling(function, self.desk.told, outputs.index(self.status), len(outputs)),
            inputs,
            outputs,
            trigger_mode=mode,
            concurrency_id=queue,
            concurrency_limit=AT_ONCE,
            api_visibility="private",
            show_progress="minimal",
        )

    def _upload(self, path: str | None, *settings: Any) -> Parts | None:
        if path is None:
            return None
        return (*self._opened(self.desk.open_upload(Path(path)), *settings), gr.skip(), None)

    def _example(self, name: str | None, *settings: Any) -> Parts | None:
        if name is None or self.desk.examples is None:
            return None
        return (*self._opened(self.desk.examples.picture(name), *settings), None, name)

    def _next(self, session: Session | None, *settings: Any) -> Parts | None:
        return self._example(self.desk.next_example(session), *settings)

    def _opened(self, picture: Picture, _class: Any, *settings: Any) -> Parts:
        """Another image: the class that it is known to show, or the likeliest, and an empty sheet to draw on."""
        background = {"background": picture.pixels, "layers": [], "composite": None}
        sheet = gr.ImageEditor(background, brush=_brush(picture))
        return (*self._seen(picture, picture.class_index, *settings), sheet, "", "", None)

    def _change(self, session: Session | None, sheet: Any, *settings: Any) -> Parts | None:
        if session is None:
            return None
        class_index, *others = settings
        seen = self._seen(session.picture, class_index, *others)
        return (*seen, self.desk.inside(seen[0], _drawn(session, sheet)))

    def _seen(
        self,
        picture: Picture,
        class_index: int | None,
        method: Any,
        layer: str | None,
        exclusive: bool,
        opacity: float,
    ) -> Parts:
        session = self.desk.look(picture, Settings(class_index, method, layer, exclusive))
        return (
            session,
            hint(self.desk.about(picture)),
            gr.Dropdown(self.desk.ranking(session), value=session.class_index),
            self.desk.chances(session),
            self.desk.attention(session, opacity),
            self.desk.segmentation(session) if self.desk.segments else None,
            self.desk.colours(session) if self.desk.segments else "",
        )

    def _repaint(self, session: Session | None, opacity: float) -> Parts | None:
        if session is None:
            return None
        return gr.skip(), self.desk.attention(session, opacity)

    def _erase(
        self,
        session: Session | None,
        _class: Any,
        method: Any,
        layer: str | None,
        exclusive: bool,
        _opacity: float,
        threshold: float,
    ) -> Parts:
        session = self._opened_first(session)
        settings = Settings(session.class_index, method, layer, exclusive)
        pair, falls = self.desk.erase(session, settings, threshold)
        return gr.skip(), falls, pair

    def _draw(self, session: Session | None, sheet: Any) -> Parts | None:
        if session is None:
            return None
        return gr.skip(), self.desk.inside(session, _drawn(session, sheet))

    def _opened_first(self, session: Session | None) -> Session:
        if session is None:
            raise DataError(FIRST.format(or_example=self._or_example))
        return session

    def _save(self, session: Session | None, sheet: Any) -> Parts:
        session = self._opened_first(session)
        zones = _drawn(session, sheet)
        words = self.desk.save(session, zones)
        gr.Info(escape(words))
        return hint(words), self.desk.inside(session, zones)


def _brush(picture: Picture | None) -> Any:
    """Two colours, as wide as suits the picture: its pixels are what a brush is measured in."""
    width = 12 if picture is None else max(2, round(min(picture.pixels.shape[:2]) / BRUSHES))
    return gr.Brush(default_size=width, colors=[_hex(LOOK_COLOUR), _hex(AVOID_COLOUR)], color_mode="fixed")


def _drawn(session: Session, sheet: Any) -> Zones:
    """What is on the sheet now: the editor alone keeps it, so that no answer of a network puts an older state back."""
    layers = [] if sheet is None else [np.asarray(layer) for layer in sheet["layers"]]
    return drawn_zones(layers, session.picture.pixels.shape[:2])


def _telling(
    function: Callable[..., Any], told: Callable[[WhereToLookError], str], status: int, count: int
) -> Callable[..., Any]:
    """A function that says in the status what is wrong, and leaves all else as it is; all, where it gives none."""

    def answered(*values: Any) -> Parts:
        try:
            result: Parts | None = function(*values)
            return tuple(gr.skip() for _ in range(count)) if result is None else result
        except WhereToLookError as error:
            words = told(error)
        except torch.OutOfMemoryError:
            words = "the machine has no memory for the network at this size; take a smaller image"
        gr.Warning(escape(words))
        return tuple(said(words) if place == status else gr.skip() for place in range(count))

    return answered


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()
