"""What the parts of a run's page and of a comparison say, from records made by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from wheretolook.evaluation.pairs import PairFigures
from wheretolook.files import write_json, write_text
from wheretolook.report import charts, curves
from wheretolook.report.comparison import comparison, labels
from wheretolook.report.components import Chart, Code, Columns, Details, Gallery, Part, Section, Slider, Text
from wheretolook.report.recorded import Recorded, leaves, read_run
from wheretolook.report.run_page import BARS, COLOURS, EXTREMES, last_stage, last_validation, places_chart, sections

from .test_changes import pair

DASH = "\N{EN DASH}"


def run(**known: object) -> Recorded:
    return Recorded(**{"folder": Path("runs/mine"), "kind": "recipe", "options": {}, **known})


def unfolded(some: list[Part]) -> list[Part]:
    return [
        inner for one in some for inner in (unfolded(list(one.parts)) if isinstance(one, Details | Columns) else [one])
    ]


def section(found: list[Section], title: str) -> list[Part]:
    (one,) = [one for one in found if one.title == title]
    return unfolded(list(one.parts))


def sides(*energies: tuple[str, float, float], **known: object) -> dict[str, list[PairFigures]]:
    """Pairs of a class, with their energies before and after."""
    before = [pair(one, f"image {place}", class_name=name, **known) for place, (name, one, _) in enumerate(energies)]
    after = [pair(one, f"image {place}", class_name=name, **known) for place, (name, _, one) in enumerate(energies)]
    return {"before": before, "after": after}


def test_attention_by_class_is_the_mean_of_its_images_from_the_largest_rise_to_the_largest_fall() -> None:
    found = sides(("fell", 0.5, 0.25), ("rose", 0.25, 0.5), ("rose", 0.5, 1.0), ("none", math.nan, math.nan))
    found["before"].append(pair(0.5, "x", class_name="stayed"))
    found["after"].append(pair(0.5, "x", class_name="stayed"))
    (chart,) = section(sections(run(**found)), "Classes and groups")
    assert isinstance(chart, Chart)
    assert {bar["name"]: (bar["y"], bar["x"]) for bar in chart.figure["data"]} == {
        "before": (["rose", "stayed", "fell"], [37.5, 50.0, 50.0]),
        "after": (["rose", "stayed", "fell"], [75.0, 50.0, 25.0]),
    }
    assert "%{x:.1f} %<" in chart.figure["data"][0]["hovertemplate"] and "of" not in chart.description.partition(".")[2]


def test_of_many_classes_those_are_charted_that_changed_the_most() -> None:
    changes = {f"class {place}": (-1) ** place * (place + 1) / 40 for place in range(BARS + 3)}
    found = sides(*((name, 0.5, 0.5 + change) for name, change in changes.items()))
    (chart,) = section(sections(run(**found)), "Classes and groups")
    most = sorted(sorted(changes, key=lambda name: abs(changes[name]))[3:], key=lambda name: -changes[name])
    assert chart.figure["data"][0]["y"] == most
    assert f"The {BARS} of {BARS + 3} classes" in chart.description
    found = sides(*((name, 0.5, 0.5 + changes[name]) for name in most))
    (chart,) = section(sections(run(**found)), "Classes and groups")
    assert len(chart.figure["data"][0]["y"]) == BARS and f"{BARS}" not in chart.description


def test_the_extremes_are_the_largest_first_and_the_rest_is_counted() -> None:
    energies = [("cow", 0.5, 0.5 + place / 40) for place in range(-EXTREMES - 2, EXTREMES + 2)]
    found = sides(*energies, ("cow", math.nan, math.nan))
    chart, best, worst = section(sections(run(**found)), "Each image")
    gains = [round(100 * (after - before), 6) for _, before, after in energies]
    rose, fell = [gain for gain in gains if gain > 0], [gain for gain in gains if gain < 0]
    assert chart.description == f"{len(rose)} rose, {len(fell)} fell, 2 stayed."  # by its probability, the last
    assert chart.title == "Change of share of attention on the object"
    assert sum(chart.figure["data"][0]["y"]) == len(energies) + 1
    assert best.headings == worst.headings == ["", "before", "after", "points", "answer"]
    assert [float(row[3]) for row in best.rows] == pytest.approx(sorted(rose)[::-1][:EXTREMES], abs=0.51)
    assert [float(row[3]) for row in worst.rows] == pytest.approx(sorted(fell)[:EXTREMES], abs=0.51)
    assert best.rows[0][0] == f"cow in image {len(energies) - 1}" and worst.rows[0][0] == "cow in image 0"
    assert best.rows[0][1] == "50 %" and worst.rows[0][2] == "20 %"
    chart, best, worst = section(sections(run(**sides(("cow", 0.5, 0.75)))), "Each image")
    assert isinstance(worst, Text) and worst.text == "The worst regressions: none." and len(best.rows) == 1


def test_where_nothing_is_annotated_changes_are_of_the_probability() -> None:
    before, after = pair(math.nan, probability=0.25), pair(math.nan, probability=0.75, right=False)
    chart, best, _ = section(sections(run(before=[before], after=[after])), "Each image")
    assert chart.title == "Change of the class's probability"
    assert best.rows == [["cow in a", "25 %", "75 %", "+50", "right \N{RIGHTWARDS ARROW} wrong"]]


def test_where_attention_went_is_a_bar_for_each_network_in_the_colours_of_its_places() -> None:
    known = {"chance": 0.125, "border_beside": 0.25}
    found = sides(("cow", 0.5, 0.25), **known)
    found["before"].append(pair(math.nan, "x"))
    found["after"].append(pair(math.nan, "x"))
    (chart,) = section(sections(run(**found)), "Where attention went")
    assert {bar["name"]: (bar["y"], bar["x"]) for bar in chart.figure["data"]} == {
        **{"object": (["before", "after"], [50.0, 25.0]), "context": (["before", "after"], [25.0, 50.0])},
        "border": (["before", "after"], [25.0, 25.0]),
    }
    for bar in chart.figure["data"]:
        assert bar["marker"]["color"] == COLOURS[bar["name"]]
    assert COLOURS["object"] == charts.GOOD and COLOURS["border"] == charts.BAD
    assert chart.figure["layout"]["barmode"] == "stack" and "12 % on the object" in chart.description


def test_shares_are_of_annotated_pairs_whichever_run_has_them() -> None:
    """A run without any has no bar beside those that have some, and what nobody has anywhere no place."""
    known, unknown = pair(0.5, border_beside=0.25, chance=0.25), pair(math.nan, border=0.25)
    for place in range(2):
        found = {str(number): [known if number == place else unknown] for number in range(2)}
        chart = places_chart(found)
        assert {bar["name"]: (bar["y"], bar["x"]) for bar in chart.figure["data"]} == {
            name: ([str(place)], [share]) for name, share in (("object", 50.0), ("context", 25.0), ("border", 25.0))
        }
        assert "25 % on the object" in chart.description
    chart = places_chart({"a": [unknown], "b": [unknown._replace(border=0.0, empty=True)]})
    assert {bar["name"]: bar["x"] for bar in chart.figure["data"]} == {
        **{"inside": [75.0, 0.0], "border": [25.0, 0.0], "empty maps": [0.0, 100.0]},
    }


def test_the_stages_before_are_folded_away_with_their_totals_alone() -> None:
    row = {"step": 1.0, "train/total": 1.0, "train/segmentation": 1.0}
    stages = {"Segmenter": [row, {**row, "step": 2.0}], "Control": [row], "Guided": [{**row, "train/energy": 0.5}]}
    found = next(one for one in sections(run(histories=stages)) if one.title == "Losses")
    shown, earlier = found.parts
    assert [chart.title for chart in shown.parts] == ["Total loss", "Segmentation loss", "Energy loss"]
    assert [chart.title for chart in unfolded([earlier])] == ["Segmenter: total loss"]
    assert [line["name"] for line in shown.parts[0].figure["data"] if "name" in line] == ["Control", "Guided"]
    alone = next(one for one in sections(run(histories={"Segmenter": stages["Segmenter"]})) if one.title == "Losses")
    assert [chart.title for chart in unfolded(list(alone.parts))] == ["Total loss", "Segmentation loss"]
    assert last_stage(run(histories=stages)) == stages["Guided"] and last_stage(run()) == []


def test_a_training_shows_the_figures_of_its_last_validation() -> None:
    rows = [{"step": 1.0, "val/mean_iu": 0.25, "val/f1": 0.5}, {"step": 2.0, "val/mean_iu": 0.5}, {"step": 3.0}]
    training = run(kind="training", histories={"a": rows})
    assert last_validation(training) == [{"weights": "last validation", "seed": 0, "mean_iu": 0.5, "f1": 0.5}]
    (table,) = section(sections(training), "Figures")
    assert table.rows == [["Mean IU", "50.0000"], ["F1", "50.00"]] and table.headings == ["", "last validation"]
    assert last_validation(run(histories={"a": [{"step": 1.0}]})) == [] == last_validation(run())
    assert not [one for one in sections(run(histories={"a": rows})) if one.title == "Figures"]


def test_settings_are_the_command_the_machine_and_every_option() -> None:
    told = run(
        missing=["one", "two"], command="wheretolook run", environment={"versions": {"torch": "2"}, "seconds": 3},
        options={"out": "runs", "training": {"steps": 5, "clip": None}},
    )  # fmt: skip
    missing, command, machine, options = section(sections(told), "Settings")
    assert isinstance(missing, Text) and missing.text == "Not in the folder: one; two."
    assert isinstance(command, Code) and command.text == "wheretolook run"
    assert machine.rows == [["torch", "2"], ["seconds", "3"]] and not machine.numbers
    assert options.rows == [["out", "runs"], ["training.steps", "5"], ["training.clip", "none"]] and not options.numbers
    assert not [one for one in sections(run()) if one.title == "Settings"]


def test_which_networks_are_before_and_after_is_said() -> None:
    found = sides(("cow", 0.5, 0.75))
    rows = [{"weights": name, "seed": 0, "f1": 0.5} for name in ("Original", "Control", "Guided")]
    gallery = Gallery("g", []), Slider("s", [])
    noted = {one.title: one.note for one in sections(run(rows=rows, pictures=gallery, **found))}
    assert noted["Pictures"] == "Before: Original; after: Guided, both of the first seed."
    assert "1 in all" in noted["Each image"]
    other = run(kind="pictures", options={"before": "a", "after": "b"}, pictures=gallery)
    assert {one.title: one.note for one in sections(other)}["Pictures"] == "Before: a; after: b."
    assert {one.title: one.note for one in sections(run(pictures=gallery))}["Pictures"] == ""


def test_a_run_that_was_cut_off_has_the_options_that_it_began_with(tmp_path: Path) -> None:
    write_text(tmp_path / "history.csv", "step,train/total\n1,0.5\n")
    assert read_run(tmp_path).options == {} and "options.json is not there: no settings" in read_run(tmp_path).missing
    write_json(tmp_path / "options.json", {"out": "x"})
    assert read_run(tmp_path).options == {"out": "x"}
    write_json(tmp_path / "run.json", {"versions": {"a": "1"}, "machine": "m", "seconds": 1, "other": 2})
    found = read_run(tmp_path)
    assert found.options == {"out": "x"} and not found.missing and found.command == "" and found.class_names == []
    assert found.environment == {"versions": {"a": "1"}, "machine": "m", "seconds": 1}
    assert list(found.histories) == [tmp_path.name]


def test_stages_are_read_in_the_order_in_which_they_are_trained(tmp_path: Path) -> None:
    write_json(tmp_path / "report/evaluation.json", {"recipe": {"out": "x"}})
    names = ("guided", "control_classification", "control", "classifier", "segmenter", "seed_1")
    for name in names:
        write_text(tmp_path / name / "history.csv", "step,train/total\n1,0.5\n")
    found = read_run(tmp_path)
    assert list(found.histories) == ["Segmenter", "Classifier", "Control", "Control + classification", "Guided"]
    assert (found.kind, found.options, found.pictures) == ("recipe", {"out": "x"}, None)


def test_an_evaluation_and_pictures_are_told_by_their_records(tmp_path: Path) -> None:
    write_json(tmp_path / "visualize.json", {"options": {"before": "a"}, "command": "c", "class_names": ["boat"]})
    found = read_run(tmp_path)
    assert (found.kind, found.options, found.command) == ("pictures", {"before": "a"}, "c")
    assert found.class_names == ["boat"] and "gallery.json is not there: no pictures" in found.missing
    write_json(tmp_path / "evaluation.json", {"options": {"weights": "w"}})
    write_json(tmp_path / "metrics.json", [{"weights": "w", "f1": 0.5}])
    found = read_run(tmp_path)
    assert (found.kind, found.options) == ("evaluation", {"weights": "w"})
    assert found.rows == [{"seed": 0, "weights": "w", "f1": 0.5}]
    assert dict(leaves({"a": {"b": [1, "x"]}, "c": {}})) == {"a.b": '[1, "x"]', "c": "{}"}


def rows(*shares: float, **known: object) -> list[dict[str, object]]:
    return [{"weights": f"w{place}", "seed": 0, "f1": share, **known} for place, share in enumerate(shares)]


def test_runs_compared_have_the_best_of_each_line_strong() -> None:
    """Where one end is better and there are two to compare."""
    evaluation = run(kind="evaluation", options={"weights": "a"})
    one = replace(evaluation, rows=rows(0.25, 0.75, empty_maps=0.5, images=3, mean_iu=math.nan))
    other = replace(evaluation, rows=[{"weights": "x", "seed": 0, "f1": 0.5, "empty_maps": 0.25, "images": 4}])
    found = comparison({"first": one, "second": other})
    assert [part.title for part in found] == ["Answers and figures"]
    (table,) = section(found, "Answers and figures")
    assert table.headings == ["", "first: w0", "first: w1", "second"]
    assert [row[0] for row in table.rows] == ["F1", "Empty maps", "Images"]
    assert table.strong == {(0, 2), (1, 3)} and table.note
    (table,) = section(comparison({"a": replace(evaluation, rows=rows(0.5))}), "Answers and figures")
    assert table.strong == set() and table.note == "" and table.headings == ["", "a"]


def test_runs_compared_show_what_differs_what_is_missing_and_what_was_typed() -> None:
    row = {"accuracy_per_class": [0.5, 0.25], "accuracy_per_group": {"land": 0.5}}
    one = run(
        kind="evaluation", rows=rows(0.5, **row), class_names=["boat", "cow"], command="one", missing=["x", "y"],
        options={"a": 1, "same": 2, "one's": 3},
    )  # fmt: skip
    other = replace(one, options={"a": 5, "same": 2}, command="", missing=[])
    found = comparison({"p": one, "q": other})
    assert [part.title for part in found] == ["Answers and figures", "Classes and groups", "Settings"]
    missing, differing, command = section(found, "Settings")
    assert missing.text == "p: x; y." and (command.text, command.caption) == ("one", "The command of p")
    assert differing.headings == ["", "p", "q"] and differing.rows == [["a", "1", "5"]] and not differing.numbers
    classes, groups = section(found, "Classes and groups")
    assert classes.rows == [["boat", "50.00", "50.00"], ["cow", "25.00", "25.00"]]
    assert groups.rows == [["land", "50.00", "50.00"]] and groups.headings == ["", "p", "q"]
    others = comparison({"p": one, "q": replace(other, class_names=["boat", "sheep"])})
    (groups,) = section(others, "Classes and groups")
    assert groups.caption.startswith("Groups")


def test_answers_losses_and_places_of_runs_stand_under_their_names() -> None:
    measured = [
        {"weights": name, "seed": seed, "worst_group_accuracy": share + seed / 100}
        for seed in range(3)
        for name, share in (("Control", 0.25), ("Guided", 0.75))
    ]
    history = [{"step": float(step), "train/total": 1.0, "val/mean_iu": 0.5} for step in (1, 2)]
    pairs = sides(("cow", 0.5, 0.25))
    one = run(rows=measured, histories={"Control": [], "Guided": history}, **pairs)
    found = comparison({"p": one, "q": replace(one, kind="evaluation", rows=(), before=[], after=[])})
    assert [part.title for part in found] == ["Answers and figures", "Losses", "Where attention went"]
    answers = section(found, "Answers and figures")[0]
    assert [row[0] for row in answers.rows] == ["p"] and answers.headings == ["", "answer"] and not answers.numbers
    assert "Guidance helps" in answers.rows[0][1] and answers.caption.startswith("What came")
    loss, validated = section(found, "Losses")
    for chart in (loss, validated):
        assert [line["name"] for line in chart.figure["data"] if "name" in line] == ["p", "q"]
    (places,) = section(found, "Where attention went")
    assert places.figure["data"][0]["y"] == ["p: before", "p: after"]


def test_runs_of_one_name_are_told_apart_by_what_lies_above_or_by_number() -> None:
    assert labels([Path("/a/x/run"), Path("/b/x/run")]) == ["a/x/run", "b/x/run"]
    assert labels([Path("/a/run")]) == ["run"] and labels([Path("/a"), Path("/a"), Path("/a")]) == [
        "a",
        "a (2)",
        "a (3)",
    ]


def test_the_limits_of_a_panel_hold_nearly_all_that_is_faint() -> None:
    """All but the highest and the lowest half percent, and room of 8 % where there is something beyond zero."""
    faint = [float(value) for value in range(1001)]
    assert curves._limits(faint, [1.0]) == (0.0, pytest.approx(1.08 * 995))
    low, high = curves._limits([-value for value in faint], [-1.0])
    assert (low, high) == (pytest.approx(-1.08 * 995), 0.0)
    low, high = curves._limits([0.0], [-10.0, 30.0])
    assert (low, high) == (pytest.approx(-10 - 0.08 * 40), pytest.approx(30 + 0.08 * 40))
