"""Label Studio's JSON and JSON-MIN as the tool writes them: every way of drawing, choices, broken and hostile files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wheretolook.data import layout_of, names
from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image, write_lines, write_mask
from .test_exports import bright, plane

EXPORT = "project-3-at-2024-03-05-14-02-0a1b2c3d.json"


def packed(values: np.ndarray) -> list[int]:
    """Runs as the tool packs them, written down as text first: repeats where there are any, else one value alone."""
    bits = [f"{values.size * 4:032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in (3, 4, 8, 16))]
    flat = np.repeat(values.ravel(), 4).tolist()
    place = 0
    while place < len(flat):
        longest = min(len(flat) - place, 65536)
        run = next((n for n in range(1, longest) if flat[place + n] != flat[place]), longest)
        which, width, _ = next(one for one in ((0, 3, 8), (1, 4, 16), (2, 8, 256), (3, 16, 65536)) if run <= one[2])
        bits.append(f"{int(run > 1)}{which:02b}{run - 1:0{width}b}{flat[place]:08b}")
        place += run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def drawn(kind: str, label: str, **value: object) -> dict:
    return {
        "id": "x1", "type": kind, "from_name": "label", "to_name": "image", "origin": "manual", "image_rotation": 0,
        "original_width": 16, "original_height": 12, "value": {**value, kind: [label]},
    }  # fmt: skip


def chosen(*labels: str, **value: object) -> dict:
    return {
        "id": "x2",
        "type": "choices",
        "from_name": "choice",
        "to_name": "image",
        "value": {"choices": [*labels], **value},
    }


def task(number: int, image: str, *results: dict, **more: object) -> dict:
    annotation = {"id": number, "result": list(results), "was_cancelled": False, "ground_truth": False}
    return {"id": number, "data": {"image": image}, "annotations": [annotation], "predictions": [], **more}


def write(root: Path, *tasks: dict, name: str = EXPORT) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(tasks))
    return root


def minimal(whole: dict) -> dict:
    """A task as JSON-MIN has it."""
    results = whole["annotations"][0]["result"]
    found = {"image": whole["data"]["image"], "id": whole["id"], "annotator": 1, "annotation_id": 1, "lead_time": 2.5}
    if regions := [one for one in results if one["type"] != "choices"]:
        found["label"] = [{**one["value"], "original_width": 16, "original_height": 12} for one in regions]
    choices = [name for one in results if one["type"] == "choices" for name in one["value"]["choices"]]
    if choices:
        found["choice"] = choices[0] if len(choices) == 1 else {"choices": choices}
    return found


STROKE = np.zeros((12, 16), np.uint8)
STROKE[2:5, 3:9] = 255
STROKE[8, 12] = 200  # softer at its edge
BOX = drawn("rectanglelabels", "dog", x=25, y=25, width=50, height=50, rotation=0)
TRIANGLE = drawn("polygonlabels", "cat", points=[[12.5, 25], [50, 25], [50, 75]], closed=True)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once in a process is said in each test."""
    monkeypatch.setattr(names, "_said", set())


@pytest.mark.parametrize("form", ["json", "json_min"])
def test_every_way_of_drawing(tmp_path: Path, form: str):
    turned = drawn("rectanglelabels", "dog", x=50, y=25, width=25, height=12.5, rotation=90)
    ellipse = drawn("ellipselabels", "dog", x=75, y=50, radiusX=12.5, radiusY=25, rotation=0)
    tasks = [
        task(1, "/data/upload/3/0123abcd-a.jpg", drawn("brushlabels", "cat", format="rle", rle=packed(STROKE))),
        task(2, "/data/local-files/?d=photos/b.jpg", BOX),
        task(3, "s3://bucket/c%201.jpg", TRIANGLE, ellipse),
        task(4, "https://host/d.jpg?X-Amz=1", turned),
        task(5, "e.jpg"),
    ]
    write(tmp_path, *(map(minimal, tasks) if form == "json_min" else tasks))
    for name in ("0123abcd-a", "b", "c 1", "d", "e"):
        write_image(tmp_path / f"images/{name}.jpg")
    if form == "json_min":  # one's own file, which has no letters of the tool's in front
        (tmp_path / "images/0123abcd-a.jpg").rename(tmp_path / "images/a.jpg")
    write_lines(tmp_path / "splits/all.txt", "a" if form == "json_min" else "0123abcd-a", "b", "c 1", "d", "e")
    data = opened(tmp_path, "all")
    assert layout_of(DataOptions(root=str(tmp_path))) == "label_studio"
    assert data.names[1:] == ("images/b", "images/c 1", "images/d", "images/e") and data.class_names == ("cat", "dog")
    brush, box, shapes, quarter, empty = (data[index] for index in range(5))
    assert torch.equal(brush.targets[0], torch.from_numpy((STROKE > 0).astype(np.uint8))) and brush.segmented
    assert torch.equal(box.targets[0], plane(np.s_[3:9], np.s_[4:12])) and not box.segmented
    assert bright(shapes.targets[0]) == [3, 2, 9, 8] and bright(shapes.targets[1]) == [3, 10, 9, 14]
    assert shapes.targets[1, 6, 12] == 1 and shapes.targets[1, 9, 10] == 0  # corners are none of an ellipse's
    # a quarter turn clockwise about the upper left corner, (8, 3): 4 wide becomes 4 high, 1.5 high 1.5 to the left
    assert bright(quarter.targets[0]) == [3, 6, 7, 8] and quarter.segmented
    assert not empty.labels.any() and empty.segmented


def test_points_and_backgrounds_are_marks(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    points = [drawn("keypointlabels", name, x=x, y=50, width=0.5) for name, x in (("cat", 25), ("background", 75))]
    write(tmp_path, task(1, "a.jpg", *points))
    write_lines(tmp_path / "splits/all.txt", "a")
    sample = opened(tmp_path, "all", mark_radius=0.0)[0]
    assert opened(tmp_path, "all").class_names == ("cat",)
    assert bright(sample.targets[0]) == [6, 4, 6, 4] and sample.targets[0, 6, 12] == 0
    assert (sample.targets == VOID).sum() == 12 * 16 - 2


@pytest.mark.parametrize("form", ["json", "json_min"])
def test_choices_alone_are_classes_and_beside_drawings_they_are_none(tmp_path: Path, form: str, caplog):
    for name in "abcdefgh":
        write_image(tmp_path / f"{name}.jpg", seed=ord(name))
    tasks = [
        task(number, f"{name}.jpg", chosen("cat" if number % 2 else "dog")) for number, name in enumerate("abcdefgh")
    ]
    write(tmp_path, *(map(minimal, tasks) if form == "json_min" else tasks))
    data = ImageData(DataOptions(root=str(tmp_path)), steps=1)
    assert data.class_names == ("cat", "dog") and data.train_set.one_class and not data.train_set.has_annotations
    assert len(data.train_set) + len(data.val_set) == 8
    tasks[0] = task(0, "a.jpg", BOX, chosen("blurred"), chosen("sharp", x=1, y=2, width=3, height=4))
    write(tmp_path, *(map(minimal, tasks) if form == "json_min" else tasks))
    write_lines(tmp_path / "splits/all.txt", *"abcdefgh")
    mixed = opened(tmp_path, "all")
    assert (
        mixed.class_names == ("dog",)
        and not mixed.one_class
        and "choices of Label Studio's are left out" in caplog.text
    )


def test_whose_annotation_counts_and_what_is_not_annotated(tmp_path: Path, caplog):
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg", seed=ord(name))

    def by(number: int, result: list, **more: object) -> dict:
        return {"id": number, "result": result, "was_cancelled": False, **more}

    write(
        tmp_path,
        task(1, "a.jpg", annotations=[by(1, [BOX], ground_truth=True), by(2, [TRIANGLE])]),
        task(2, "b.jpg", annotations=[by(3, [BOX]), by(4, [TRIANGLE]), by(5, [BOX], was_cancelled=True)]),
        task(3, "c.jpg", annotations=[by(6, [BOX], was_cancelled=True)]),
        task(4, "d.jpg", annotations=[], predictions=[by(7, [TRIANGLE])]),
    )
    write_lines(tmp_path / "splits/all.txt", *"ab")
    data = opened(tmp_path, "all")
    assert [[data.class_names[index] for index in data.classes_in(number)] for number in (0, 1)] == [["dog"], ["cat"]]
    assert "2 of 4 tasks are not annotated" in caplog.text and "the last one counts" in caplog.text


def test_names_of_classes_may_be_listed_and_files_be_called_otherwise(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path, task(1, "a.jpg", BOX), name="result.json")
    write_lines(tmp_path / "splits/all.txt", "a")
    for guessed in ("auto", "labelme"):
        with pytest.raises(
            DataError, match=r"is a list of tasks, as Label Studio writes them; call it as the tool does"
        ):
            opened(tmp_path, "all", layout=guessed)
    (tmp_path / "result.json").rename(tmp_path / EXPORT)
    write_lines(tmp_path / "classes.txt", "horse", "dog")
    data = opened(tmp_path, "all")
    assert data.class_names == ("horse", "dog") and data.classes_in(0) == {1}
    write_lines(tmp_path / "classes.txt", "horse")
    with pytest.raises(DataError, match="task 1, rectanglelabels x1: unknown class 'dog'; known: horse"):
        opened(tmp_path, "all")


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task(1, "/etc/passwd.jpg", BOX)], "task 1: there is no image '/etc/passwd.jpg' below"),
        ([task(1, "a.txt", BOX)], "expected the path of an image among its data, got image"),
        ([task(1, "a.jpg", BOX), task(2, "a.jpg", BOX)], "task 2 is of the image 'a', as another task is"),
        ([task(1, "a.jpg", {**BOX, "image_rotation": 90})], "was turned in the tool"),
        ([task(1, "a.jpg", {**BOX, "original_width": None})], "expected a whole number 'original_width'"),
        ([task(1, "a.jpg", BOX, {**BOX, "original_width": 8})], "of another size than what was drawn before it"),
        ([task(1, "a.jpg", drawn("rectanglelabels", "dog", x=1, y=1, width=0, height=2))], "is empty"),
        ([task(1, "a.jpg", drawn("rectanglelabels", "dog", x=1, y="b", width=1, height=2))], "expected 2 numbers"),
        ([task(1, "a.jpg", drawn("polygonlabels", "dog", points=[[1, 2], [3, 4]]))], "a polygon of at least 3 corners"),
        ([task(1, "a.jpg", drawn("polygonlabels", "dog", points=[1, 2, 3]))], "expected 2 numbers"),
        ([task(1, "a.jpg", drawn("polygonlabels", "", points=[]))], "expected a list of labels"),
        ([task(1, "a.jpg", drawn("brushlabels", "dog", rle=[1, 2]))], "runs of a brush that fill 16x12 pixels"),
        ([task(1, "a.jpg", drawn("brushlabels", "dog", rle=packed(STROKE)[:-9]))], "runs of a brush that fill 16x12"),
        ([task(1, "a.jpg", drawn("brushlabels", "dog", rle=packed(STROKE[:6])))], "runs of a brush that fill 16x12"),
        ([task(1, "a.jpg", drawn("brushlabels", "dog", rle=[-1, 999]))], "runs of a brush that fill 16x12"),
        (
            [task(1, "a.jpg", {**drawn("brushlabels", "dog", rle=[]), "original_height": 10**9})],
            "of 16x1000000000, but",
        ),
        ([task(1, "a.jpg", annotations=5)], "task 1: expected a list of records 'annotations', got 5"),
        ([3], "no export of Label Studio's|expected a list of tasks"),
    ],
)
def test_broken_projects(tmp_path: Path, tasks: list, words: str):
    write_image(tmp_path / "a.jpg")
    write(tmp_path, *tasks)
    write_lines(tmp_path / "splits/all.txt", "a")
    with pytest.raises(DataError, match=words) as caught:
        opened(tmp_path, "all")[0]
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_says_that_its_class_is_there(tmp_path: Path, caplog):
    write_image(tmp_path / "a.jpg")
    texts = {"id": "t", "type": "textarea", "value": {"text": ["a note"]}}, {"type": "rating", "value": {"rating": 4}}
    write(tmp_path, task(1, "a.jpg", BOX, drawn("vectorlabels", "cat", vertices=[]), *texts))
    write_lines(tmp_path / "splits/all.txt", "a")
    sample = opened(tmp_path, "all")[0]
    assert sample.labels.tolist() == [True, True] and (sample.targets[0] == VOID).all()
    assert "vectorlabels x1 and perhaps others mark nothing that is read" in caplog.text


def test_brush_strokes_as_pictures_are_refused_with_the_way_out(tmp_path: Path):
    """Their names say a task, and nothing of the image."""
    write_image(tmp_path / "images/0123abcd-a.jpg")
    write_mask(tmp_path / "masks/task-1-annotation-4-by-1-tag-cat-0.png", STROKE)
    write_lines(tmp_path / "classes.txt", "cat")
    with pytest.raises(DataError, match=r"task-1.* belongs to no image .* export JSON, and put it into"):
        opened(tmp_path, "train")
    write(
        tmp_path,
        task(1, "/data/upload/3/0123abcd-a.jpg", drawn("brushlabels", "cat", format="rle", rle=packed(STROKE))),
    )
    write_lines(tmp_path / "splits/all.txt", "0123abcd-a")
    assert opened(tmp_path, "all")[0].targets.sum() == 19
