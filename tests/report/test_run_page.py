"""Pages of runs, from folders made by hand: what stands in them, and what is absent where nothing was measured."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
import torch

from wheretolook.errors import DataError
from wheretolook.files import write_json, write_text
from wheretolook.report import page
from wheretolook.report.changes import Change
from wheretolook.report.comparison import write_comparison
from wheretolook.report.gallery import write_gallery
from wheretolook.report.losses import loss_charts, validation_charts
from wheretolook.report.pairs import write_pairs
from wheretolook.report.recorded import read_run
from wheretolook.report.run_page import sections, write_run_page

from .test_changes import change, pair
from .test_page import EVIL, parsed

NAMES = ["boat", "cow", "sheep"]
ROWS = ("Original", "Control", "Guided")


@pytest.fixture(autouse=True)
def light_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_plotly", lambda: "window.Plotly = undefined;")


def history(path: Path, last: float, *, energy: bool) -> None:
    """100 steps whose losses fall to `last`, validated after 50 and 100."""
    rows = ["step,train/total,train/energy,val/mean_iu"]
    for step in range(1, 101):
        value = last + (100 - step) / 100
        rows.append(f"{step},{value},{value if energy else 0.0},{0.25 + step / 400 if step % 50 == 0 else ''}")
    write_text(path / "history.csv", "\n".join(rows) + "\n")


def figures(name: str, seed: int, accuracy: float, *, segments: bool = True) -> dict[str, object]:
    found = {"weights": name, "seed": seed, "worst_group_accuracy": accuracy, "energy_pointing": accuracy / 2}
    classes = {"iu_per_class": [0.9, 0.5, 0.25, None]} if segments else {"accuracy_per_class": [0.5, 0.25, None]}
    return {**found, **classes, "accuracy_per_group": {"land": accuracy, EVIL: 0.5}}


def recipe(folder: Path, changes: Sequence[Change] | None = None, *, segments: bool = True) -> Path:
    """The folder of a recipe with three seeds."""
    accuracies = dict(zip(ROWS, (0.25, 0.375, 0.75), strict=True))
    rows = [
        figures(name, seed, share + seed / 100, segments=segments)
        for seed in range(3)
        for name, share in accuracies.items()
    ]
    write_json(folder / "report/metrics.json", rows)
    record = {"recipe": {"out": EVIL, "guided": {"energy": {"weight": 1.0}, "annotated": None}}, "machine": "x86"}
    write_json(folder / "report/evaluation.json", {**record, "command": "wheretolook run", "class_names": NAMES})
    for name in ("segmenter", "control", "guided", "seed_1"):
        history(folder / name, 0.5, energy=name == "guided")
    found = changes or [change(0.25, 0.75, EVIL), change(0.5, 0.125, "worse"), change(0.5, 0.5, "same")]
    write_pairs(folder / "report/pairs_before.csv", [one.before for one in found])
    write_pairs(folder / "report/pairs_after.csv", [one.after for one in found])
    write_gallery(folder / "report/gallery.json", found, NAMES, 40)
    return folder


def written(folder: Path) -> Element:
    write_run_page(read_run(folder), folder / "report.html")
    return parsed((folder / "report.html").read_text())


def text(root: Element) -> str:
    return " ".join("".join(root.itertext()).split())


def headings(root: Element) -> list[str]:
    return [heading.text for heading in root.iter("h2")]


def table(root: Element, caption: str) -> list[list[str]]:
    (found,) = [one for one in root.iter("table") if text(one.find("caption")).startswith(caption)]
    return [[text(cell) for cell in row if cell.tag in ("th", "td")] for row in found.iter("tr")]


def chart(root: Element, title: str) -> dict[str, object]:
    """The first of that title."""
    for figure in root.iter("figure"):
        if figure.find("figcaption") is not None and figure.find("figcaption").text == title:
            return json.loads(figure.find("script").text)
    raise AssertionError(f"no chart has the title {title}")


def test_a_recipe_has_everything_in_order(tmp_path: Path):
    root = written(recipe(tmp_path / "mine"))
    assert headings(root) == [
        *("The answer", "Losses", "Pictures", "Classes and groups", "Each image", "Where attention went", "Settings")
    ]
    assert text(root.find(".//h1")) == "What guidance changed: mine"
    verdict = next(one for one in root.iter("div") if one.attrib.get("class") == "verdict good")
    assert "Guidance helps, and attention moves onto the objects." in text(verdict)
    assert "Worst group 76.0 in place of 38.5 (+37.5" in text(verdict)
    assert table(root, "Figures")[0] == ["", *ROWS]
    assert table(root, "Figures")[1] == ["Worst group's accuracy", "26.00 ± 1.00", "38.50 ± 1.00", "76.00 ± 1.00"]
    assert table(root, "shares in percent")[1][:2] == ["Worst group's accuracy", "+50.00 ± 0.00"]
    assert table(root, "Classes: IU")[1:] == [
        *(["background", "90.00", "90.00", "90.00"], ["boat", "50.00", "50.00", "50.00"]),
        *(["cow", "25.00", "25.00", "25.00"], ["sheep", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}"]),
    ]
    assert table(root, "Groups")[1][0] == "land" and table(root, "Groups")[2][0] == EVIL
    assert table(root, "The largest gains")[1:] == [[f"cow in {EVIL}", "25 %", "75 %", "+50", "right"]]
    assert table(root, "The worst regressions")[1:] == [["cow in worse", "50 %", "12 %", "-38", "right"]]
    assert "Before: Original; after: Guided, both of the first seed." in text(root)
    assert "1 rose, 1 fell, 1 stayed" in text(root) and "3 of 40 are here" in text(root)
    assert dict(table(root, "Options")[1:]) == {"out": EVIL, "guided.energy.weight": "1.0", "guided.annotated": "none"}
    assert "wheretolook run" in [pre.find("code").text for pre in root.iter("pre")]


def test_curves_are_those_of_the_stage_that_is_compared(tmp_path: Path):
    root = written(recipe(tmp_path))
    total, energy = chart(root, "Total loss"), chart(root, "Energy loss")
    assert [line["name"] for line in total["data"] if line.get("showlegend", True)] == ["Control", "Guided"]
    assert [line["name"] for line in energy["data"] if line.get("showlegend", True)] == ["Guided"]
    colours = {line["name"]: line["line"]["color"] for line in total["data"] if "name" in line}
    assert energy["data"][-1]["line"]["color"] == colours["Guided"] != colours["Control"]
    assert chart(root, "Mean IU")["data"][0]["y"] == [37.5, 50.0]
    assert "The stages before" in [summary.text for summary in root.iter("summary")]


def test_attention_adds_up_to_a_whole(tmp_path: Path):
    known = {"border_beside": 0.125, "chance": 0.2}
    pairs = [pair(0.5, **known), pair(0.25, **known), pair(0.0, empty=True, border_beside=0.0, chance=0.2)]
    recipe(tmp_path)
    for name in ("before", "after"):
        write_pairs(tmp_path / f"report/pairs_{name}.csv", pairs)
    bars = {bar["name"]: bar["x"] for bar in chart(written(tmp_path), "Shares of attention")["data"]}
    assert list(bars) == ["object", "context", "border", "empty maps"]
    assert [round(values[0], 6) for values in bars.values()] == [25.0, 33.333333, 8.333333, 33.333333]


def test_a_classifier_without_masks_has_no_such_parts(tmp_path: Path):
    blind = {"truth": torch.full((24, 32), 255), "target": torch.full((24, 32), 255, dtype=torch.uint8)}
    one = change(math.nan, math.nan, **blind)
    found = [
        one._replace(
            before=pair(math.nan, probability=0.5, border=0.25), after=pair(math.nan, probability=0.75, border=0.5)
        )
    ]
    root = written(recipe(tmp_path, found, segments=False))
    assert (
        "truth" not in text(root)
        and "segmentation" not in text(root)
        and "object" not in text(root.find(".//main")).replace("the objects", "")
    )
    assert table(root, "Classes: share of a class's images")[1] == ["boat", "50.00", "50.00", "50.00"]
    assert table(root, "The largest gains")[1] == ["cow in a", "50 %", "75 %", "+25", "right"]
    assert {bar["name"]: bar["x"] for bar in chart(root, "Shares of attention")["data"]} == {
        "inside": [75.0, 50.0],
        "border": [25.0, 50.0],
    }


def test_what_is_missing_is_said_in_a_line_and_the_rest_is_there(tmp_path: Path):
    recipe(tmp_path)
    for name in ("gallery.json", "pairs_after.csv", "pairs_before.csv", "metrics.json"):
        (tmp_path / "report" / name).unlink()
    run = read_run(tmp_path)
    assert run.missing == [
        *("metrics.json is not there: no tables", "pairs_before.csv is not there: no distribution of changes"),
        *("pairs_after.csv is not there: no distribution of changes", "gallery.json is not there: no pictures"),
    ]
    assert headings(written(tmp_path)) == ["Losses", "Settings"]
    assert "Not in the folder: metrics.json is not there: no tables;" in text(written(tmp_path))
    with pytest.raises(DataError, match="expected the folder of a run"):
        read_run(tmp_path / "report/none")


@pytest.mark.parametrize("name", ["metrics.json", "evaluation.json", "pairs_after.csv"])
def test_a_broken_file_is_named(tmp_path: Path, name: str):
    recipe(tmp_path)
    (tmp_path / "report" / name).write_text("[3]")
    with pytest.raises(DataError, match=name):
        read_run(tmp_path)


def test_pairs_that_do_not_match_are_named(tmp_path: Path):
    recipe(tmp_path)
    write_pairs(tmp_path / "report/pairs_after.csv", [pair()])
    with pytest.raises(DataError, match="expected the same pairs"):
        read_run(tmp_path)


def test_a_training_has_losses_and_options(tmp_path: Path):
    history(tmp_path / "gain", 0.5, energy=True)
    write_json(tmp_path / "gain/options.json", {"training": {"steps": 100}})
    assert read_run(tmp_path / "gain").missing == ["run.json is not there: the run has not come to its end"]
    write_json(tmp_path / "gain/run.json", {"options": {"training": {"steps": 100}}, "seconds": 3, "command": "x y"})
    root = written(tmp_path / "gain")
    assert headings(root) == ["Figures", "Losses", "Settings"] and text(root.find(".//h1")) == "Training: gain"
    assert table(root, "Figures, shares in percent")[0] == ["", "last validation"]
    assert dict(table(root, "Options")[1:]) == {"training.steps": "100"}


def test_several_runs_stand_side_by_side(tmp_path: Path):
    history(tmp_path / "other", 0.25, energy=True)
    write_json(tmp_path / "other/run.json", {"options": {"training": {"steps": 100}}})
    record = recipe(tmp_path / "b/run") / "report/evaluation.json"
    words = (
        record.read_text().replace('"weight": 1.0', '"weight": 2.0').replace('"annotated": null', '"annotated": "five"')
    )
    record.write_text(words)
    runs = [read_run(folder) for folder in (recipe(tmp_path / "a/run"), tmp_path / "b/run", tmp_path / "other")]
    write_comparison(runs, tmp_path / "page.html")
    root = parsed((tmp_path / "page.html").read_text())
    rows = table(root, "Figures")
    assert rows[0] == [
        "",
        *(f"{name}: {row}" for name in ("a/run", "b/run") for row in ROWS),
        "tmp/other, last validation".replace("tmp", tmp_path.name),
    ]
    best = {
        text(line[0]): [place for place, cell in enumerate(line) if cell.find("strong") is not None]
        for line in root.findall(".//tbody/tr")
    }
    assert best["Worst group's accuracy"] == [rows[0].index("a/run: Guided")]
    assert {row[0]: row[-1] for row in rows}["Mean IU"] == "50.0000"
    assert [line[0] for line in table(root, "What came of each run")[1:]] == ["a/run", "b/run"]
    lines = [line["name"] for line in chart(root, "Energy loss")["data"] if line.get("showlegend", True)]
    assert lines == ["a/run", "b/run", f"{tmp_path.name}/other"]
    differing = {line[0]: line[2] for line in table(root, "Options that differ")[1:]}
    assert differing == {"guided.energy.weight": "2.0", "guided.annotated": "five"}
    assert next(bar["y"][:2] for bar in chart(root, "Shares of attention")["data"]) == ["a/run: before", "a/run: after"]


def test_losses_that_are_off_have_no_chart_and_long_ones_are_thinned():
    rows = [{"step": float(step), "train/total": 1.0, "train/off": 0.0} for step in range(1, 1002)]
    (found,) = loss_charts({"a": rows})
    faint, strong = found.figure["data"]
    assert found.title == "Total loss" and len(strong["x"]) <= 250 and strong["x"][-1] == faint["x"][-1] == 1001
    assert validation_charts({"a": [{"step": 5.0, "val/mean_iu": 0.5}]}) == []


def test_the_parts_are_the_same_whoever_reads_the_folder(tmp_path: Path):
    run = read_run(recipe(tmp_path))
    assert [section.title for section in sections(run)] == headings(written(tmp_path))
    first = (tmp_path / "report.html").read_bytes()
    written(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first
