"""YOLO, LabelMe, VOC's boxes and colours, Waterbirds: exports as the tools write them, broken ones, hostile ones."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image, write_lines, write_mask

BIRDS = "001.Black_footed_Albatross/Black_Footed_Albatross_0001", "002.Crow/Crow_0002"


def plane(rows: slice, columns: slice) -> torch.Tensor:
    found = torch.zeros(12, 16, dtype=torch.uint8)
    found[rows, columns] = 1
    return found


def bright(values: torch.Tensor) -> list[int]:
    """First and last row, first and last column of what is on."""
    places = values.eq(1).nonzero()
    return [*places.min(dim=0).values.tolist(), *places.max(dim=0).values.tolist()]


# YOLO


def roboflow_yolo(root: Path) -> Path:
    """Paths lead out of the folder, as Roboflow writes them."""
    write_lines(root / "data.yaml", "train: ../train/images", "val: ../valid/images", "nc: 2", "names: ['cat', 'dog']")
    for split, names in (("train", ("a", "b", "c")), ("valid", ("a",))):
        for name in names:
            write_image(root / split / "images" / f"{name}.jpg", seed=ord(name) + len(split))
    write_lines(root / "train/labels/a.txt", "1 0.5 0.5 0.25 0.5", "0 0.1875 0.25 0.125 0.1666667")
    write_lines(root / "train/labels/b.txt", "0 0.125 0.25 0.5 0.25 0.5 0.75 0.125 0.75")
    write_lines(root / "valid/labels/a.txt", "0 0.5 0.5 1 1")
    return root


def test_yolo_boxes_and_segments(tmp_path: Path):
    data = ImageData(DataOptions(root=str(roboflow_yolo(tmp_path))), steps=1)
    assert data.train_set.names == ("train/images/a", "train/images/b", "train/images/c")
    assert data.val_set.names == ("valid/images/a",) and data.class_names == ("cat", "dog")
    boxed, drawn, empty = (data.train_set[index] for index in range(3))
    assert torch.equal(boxed.targets, torch.stack([plane(np.s_[2:4], np.s_[2:4]), plane(np.s_[3:9], np.s_[6:10])]))
    assert not boxed.segmented and drawn.segmented and drawn.labels.tolist() == [True, False]
    assert bright(drawn.targets[0]) == [3, 2, 9, 8]  # corners at (2, 3) and (8, 9), edges included
    assert not empty.labels.any() and not empty.mask.any() and not data.train_set.one_class


@pytest.mark.parametrize("tool", ["ultralytics", "cvat", "label_studio"])
def test_yolo_of_other_tools(tmp_path: Path, tool: str):
    place = {"ultralytics": "images/train", "cvat": "obj_train_data", "label_studio": "images"}[tool]
    for number in range(8):
        write_image(tmp_path / place / f"{number}.png", seed=number)
        labels = tmp_path / place.replace("images", "labels") / f"{number}.txt"
        write_lines(labels, "1 0.5 0.5 0.25 0.5")
    split = "train"
    if tool == "ultralytics":
        write_image(tmp_path / "images/val/0.png")
        sheet = ("path: ../datasets/pets", "train: images/train", "val: images/val", "names:", "  0: cat", "  1: dog")
        write_lines(tmp_path / "data.yaml", *sheet)
        assert opened(tmp_path, "val").names == ("images/val/0",)
    elif tool == "cvat":
        write_lines(tmp_path / "obj.names", "cat", "dog")
        write_lines(tmp_path / "obj.data", "classes = 2", "train = data/train.txt", "names = data/obj.names")
        write_lines(tmp_path / "train.txt", *(f"data/obj_train_data/{number}.png" for number in range(8)))
    else:
        write_lines(tmp_path / "classes.txt", "cat", "dog")
        (tmp_path / "notes.json").write_text("{}")
    data = opened(tmp_path, split)
    assert (len(data) == 8) == (tool != "label_studio") and data.class_names == ("cat", "dog")  # one is cut 4 : 1
    assert all(torch.equal(data[index].targets[0], plane(np.s_[3:9], np.s_[6:10])) for index in range(len(data)))


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("train/labels/a.txt", "2 0.5 0.5 0.1 0.1", "line 1: the class is 2, but there are 2, counted from 0"),
        ("train/labels/a.txt", "0 0.5 0.5 0.1", "expected a class and 4 numbers of a box"),
        ("train/labels/a.txt", "0 8 6 4 6", "expected shares of the image from 0 to 1, got '0 8 6 4 6'"),
        ("train/labels/a.txt", "0 nan 0.5 0.1 0.1", "expected shares of the image"),
        ("train/labels/a.txt", "0 0.5 0.5 0 0.1", "the box from 8 5.4 to 8 6.6 is empty"),
        ("train/labels/a.txt", "cat 0.5 0.5 0.1 0.1", "expected a class and 4 numbers"),
        ("data.yaml", "names: [", "no YAML, or a broken one"),
        ("data.yaml", "names: [cat]", "no split 'train'|the class is 1, but there are 1"),
        ("data.yaml", "train: 5\nnames: [cat, dog]", "expected a folder or a list of images, got 5"),
        ("data.yaml", "train: /etc\nnames: [cat, dog]", "there is no '/etc' in it"),
        ("data.yaml", "train: train/images\nnames: {1: cat, 2: dog}", "a class for each number from 0"),
        ("data.yaml", "!!python/object/apply:os.system [ls]", "no YAML, or a broken one"),
        ("data.yaml", "train: train/images\nnames: [cat, cat]", "has the class 'cat' twice"),
    ],
)
def test_broken_yolo(tmp_path: Path, file: str, line: str, words: str):
    root = roboflow_yolo(tmp_path)
    (root / file).write_text(line)
    with pytest.raises(DataError, match=words) as caught:
        opened(root, "train")
    assert "\n" not in str(caught.value)


# LabelMe


def labelme(path: Path, *shapes: dict, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": f"{path.stem}.jpg"}
    record |= {"imageData": "AAAA", "imageHeight": 12, "imageWidth": 16} | more
    path.write_text(json.dumps(record))
    return path


def shape(label: str, kind: str, *points: tuple, **more: object) -> dict:
    return {"label": label, "shape_type": kind, "points": list(points), "group_id": None, "flags": {}, **more}


def letters(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_labelme_shapes(tmp_path: Path):
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg")
    patch = np.eye(3, 4, dtype=bool)
    labelme(
        tmp_path / "a.json",
        shape("dog", "polygon", (2, 3), (8, 3), (8, 9), (2, 9)),
        shape("cat", "mask", (13, 10), (17, 13), mask=letters(patch)),  # reaches over the corner
        shape("__ignore__", "polygon", (0, 0), (15, 0), (15, 1), (0, 1)),
        shape("_background_", "polygon", (0, 0), (1, 0), (1, 1)),
    )
    labelme(tmp_path / "b.json", shape("cat", "circle", (8, 6), (8, 9)))
    labelme(tmp_path / "c.json", shape("dog", "rectangle", (9.5, 8), (3, 2)), shape("dog", "cuboid", (1, 1)))
    labelme(tmp_path / "d.json")
    write_lines(tmp_path / "splits/train.txt", "a", "b.jpg", "c", "d")
    data = opened(tmp_path, "train", layout="labelme")
    assert opened(tmp_path, "train").names == data.names and data.class_names == ("cat", "dog")
    cat, dog = data[0].targets
    expected = torch.zeros(12, 16, dtype=torch.uint8)
    expected[:2] = VOID
    expected[10, 13] = expected[11, 14] = 1
    assert torch.equal(cat, expected)
    assert bright(dog) == [3, 2, 9, 8] and dog.eq(1).sum() == 49
    rows, columns = np.indices((12, 16))
    disc = (rows - 6) ** 2 + (columns - 8) ** 2
    circle = data[1].targets[0].numpy() == 1
    assert circle[disc <= 2.5**2].all() and not circle[disc > 4.3**2].any()
    assert torch.equal(data[2].targets[0], plane(np.s_[2:8], np.s_[3:10])) and not data[2].segmented
    assert data[3].segmented and not data[3].mask.any()


def test_what_marks_nothing_says_that_a_class_is_there_and_not_where(tmp_path: Path):
    """Taken for absent it would teach a wrong label, and a mask without it a wrong background."""
    write_image(tmp_path / "a.jpg")
    drawn = shape("cat", "polygon", (2, 3), (8, 3), (8, 9), (2, 9)), shape("dog", "cuboid", (1, 1))
    labelme(tmp_path / "a.json", *drawn)
    write_lines(tmp_path / "splits/all.txt", "a")
    sample = opened(tmp_path, "all", layout="labelme")[0]
    assert sample.labels.tolist() == [True, True] and not sample.segmented
    assert bright(sample.targets[0]) == [3, 2, 9, 8]
    assert (sample.targets[1] == VOID).all()


def test_two_files_of_one_image_are_refused(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    for name in "ab":
        labelme(tmp_path / f"{name}.json", shape("cat", "polygon", (2, 3), (8, 3), (8, 9)), imagePath="a.jpg")
    with pytest.raises(DataError, match=r"b\.json is of the image 'a', as another file is"):
        opened(tmp_path, "train", layout="labelme")


def test_lists_name_images_by_the_end_of_their_path(tmp_path: Path):
    roboflow_yolo(tmp_path)
    write_lines(tmp_path / "splits/some.txt", "b.jpg", "train/images/c.jpg", "valid/images/a")
    assert opened(tmp_path, "some").names == ("train/images/b", "train/images/c", "valid/images/a")
    write_lines(tmp_path / "mine.txt", "c")
    data = opened(tmp_path, "train", training=True, held_out=[str(tmp_path / "mine.txt")])
    assert data.names == ("train/images/a", "train/images/b")  # what tests is not trained on, however it is written
    write_lines(tmp_path / "splits/some.txt", "z")
    with pytest.raises(DataError, match=r"some\.txt: 'z' is no image of the annotation"):
        opened(tmp_path, "some")
    write_lines(tmp_path / "splits/some.txt", "a")
    with pytest.raises(DataError, match=r"'a' may be (train|valid)/images/a or"):
        opened(tmp_path, "some")


def test_keypoints_are_refused(tmp_path: Path):
    roboflow_yolo(tmp_path)
    text = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(text + "kpt_shape: [17, 3]\n")
    with pytest.raises(DataError, match="is of keypoints"):
        opened(tmp_path, "train")


@pytest.mark.parametrize("splits", [("first", "second"), ("train", "val")])
def test_labelme_in_a_folder_for_each_split(tmp_path: Path, splits: tuple[str, str]):
    """One called train is no folder of classes."""
    for split in splits:
        write_image(tmp_path / split / "1.jpg")
        labelme(tmp_path / split / "1.json", shape("cat", "polygon", (2, 3), (8, 3), (8, 9)))
    data = ImageData(DataOptions(root=str(tmp_path), split=splits[0], val_split=splits[1]), steps=1)
    assert data.train_set.names == (f"{splits[0]}/1",) and data.val_set.names == (f"{splits[1]}/1",)


TRIANGLE = ((2, 3), (8, 3), (8, 9))


@pytest.mark.parametrize(
    ("shapes", "more", "words"),
    [
        ([shape("cat", "polygon", (1, 1), (2, 2))], {}, "shape 1: expected a polygon of at least 3 corners"),
        ([shape("cat", "polygon", (1,), (2, 2))], {}, "expected 2 numbers"),
        ([shape("cat", "rectangle", (1, 1), (1, 2))], {}, "the rectangle is empty"),
        ([shape("cat", "circle", (1, 1))], {}, "expected 2 points of a circle, got 1"),
        ([shape("cat", "mask", (1, 1), (2, 2), mask="????")], {}, "expected a mask as a PNG in base 64"),
        ([{"label": 3}], {}, "expected a text 'label', got 3"),
        ([shape("cat", "polygon", *TRIANGLE)], {"imagePath": "/etc/passwd"}, "no image '/etc/passwd' below"),
        ([shape("cat", "polygon", *TRIANGLE)], {"imageHeight": 10**8}, "is of an image of 16x100000000, but"),
        ([shape("cat", "polygon", *TRIANGLE)], {"imageHeight": None}, "expected a whole number 'imageHeight'"),
    ],
)
def test_broken_labelme(tmp_path: Path, shapes: list, more: dict, words: str):
    write_image(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", *shapes, **more)
    write_lines(tmp_path / "splits/all.txt", "a")
    with pytest.raises(DataError, match=words) as caught:
        opened(tmp_path, "all", layout="labelme")[0]
    assert "\n" not in str(caught.value)


def test_polygons_far_outside_are_drawn_at_once_and_cut(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", shape("cat", "polygon", (-1e300, 3), (1e300, 3), (1e300, 5), (-1e300, 5)))
    write_lines(tmp_path / "splits/all.txt", "a")
    assert torch.equal(opened(tmp_path, "all")[0].targets[0], plane(np.s_[3:6], np.s_[:]))


# VOC


def xml(path: Path, *objects: tuple, size: tuple[int, int] = (12, 16)) -> None:
    drawn = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, *box in objects
    )
    sides = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    write_lines(path, f"<annotation><filename>{path.stem}.jpg</filename>{sides}{drawn}</annotation>")


def test_voc_boxes(tmp_path: Path):
    for name in "ab":
        write_image(tmp_path / "JPEGImages" / f"{name}.jpg")
    xml(tmp_path / "Annotations/a.xml", ("person", 2, 3, 9, 8), ("dog", 4, 4, 20, 7.5))
    xml(tmp_path / "Annotations/b.xml")
    write_lines(tmp_path / "ImageSets/Main/default.txt", "a", "b")
    data = opened(tmp_path, "default")
    assert len(data.class_names) == 20 and not data.has_masks
    dog, person = data[0].targets
    assert torch.equal(person, plane(np.s_[3:8], np.s_[2:9])) and torch.equal(dog, plane(np.s_[4:8], np.s_[4:16]))
    assert not data[1].labels.any() and (data[1].mask == VOID).all()
    xml(tmp_path / "Annotations/b.xml", ("yak", 2, 3, 9, 8))
    assert opened(tmp_path, "default").class_names == ("dog", "person", "yak")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "a.xml is no XML, or a broken one"),
        ('<!DOCTYPE a [<!ENTITY b "cc">]><annotation>&b;</annotation>', "a.xml declares entities"),
        ("<annotation><object><name>dog</name></object></annotation>", "expected a bndbox of each object"),
        (
            "<annotation><object><name>dog</name><bndbox><xmin>a</xmin></bndbox></object></annotation>",
            "expected 4 numb",
        ),
    ],
)
def test_broken_voc_boxes(tmp_path: Path, text: str, words: str):
    write_image(tmp_path / "JPEGImages/a.jpg")
    write_lines(tmp_path / "Annotations/a.xml", text)
    write_lines(tmp_path / "ImageSets/Main/default.txt", "a")
    with pytest.raises(DataError, match=words):
        opened(tmp_path, "default")


COLOURS = {(0, 0, 0): 0, (250, 50, 83): 1, (51, 221, 255): 2, (224, 224, 192): VOID}


def cvat_masks(root: Path) -> np.ndarray:
    values = np.array([0, 1, 2, VOID], np.uint8)[np.indices((12, 16)).sum(axis=0) % 4]
    colours = {value: colour for colour, value in COLOURS.items()}
    write_image(root / "JPEGImages/a.jpg")
    pixels = np.array([[colours[value] for value in row] for row in values.tolist()], np.uint8)
    (root / "SegmentationClass").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(root / "SegmentationClass/a.png")
    write_lines(root / "ImageSets/Segmentation/default.txt", "a")
    map_of_labels = ("background:0,0,0::", "cat:250,50,83::", "hot dog:51,221,255::")
    write_lines(root / "labelmap.txt", "# label:color_rgb:parts:actions", *map_of_labels)
    return values


def test_masks_in_the_colours_of_a_map_of_labels(tmp_path: Path):
    values = cvat_masks(tmp_path)
    data = opened(tmp_path, "default")
    assert data.class_names == ("cat", "hot dog") and (data[0].mask.numpy() == values).all()
    pixels = np.array(Image.open(tmp_path / "SegmentationClass/a.png"))
    pixels[3, 4] = 250, 50, 84
    Image.fromarray(pixels).save(tmp_path / "SegmentationClass/a.png")
    with pytest.raises(DataError, match=r"has the colour \(250, 50, 84\), which is neither background's nor a class's"):
        opened(tmp_path, "default")


@pytest.mark.parametrize("line", ["dog", "dog:1,2::", "dog:1,2,300::", "dog:250,50,83::"])
def test_broken_maps_of_labels(tmp_path: Path, line: str):
    cvat_masks(tmp_path)
    with (tmp_path / "labelmap.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=r"labelmap\.txt: expected (lines like|a colour of its own)"):
        opened(tmp_path, "default")


# Waterbirds


def waterbirds(root: Path, *more: str) -> Path:
    for seed, bird in enumerate(BIRDS):
        for number in range(2):
            write_image(root / f"{bird}{number}.jpg", seed=seed + 5 * number)
    lines = (
        f"1,{BIRDS[0]}0.jpg,1,0,0,/f/forest/broadleaf/1.jpg",
        f"2,{BIRDS[0]}1.jpg,1,1,1,/o/ocean/1.jpg",
        f"3,{BIRDS[1]}0.jpg,0,0,0,/b/bamboo_forest/2.jpg",
        f"4,{BIRDS[1]}1.jpg,0,2,1,/o/ocean/2.jpg",
    )
    write_lines(root / "metadata.csv", "img_id,img_filename,y,split,place,place_filename", *lines, *more)
    return root


def test_waterbirds_loads_as_it_is(tmp_path: Path):
    data = ImageData(DataOptions(root=str(waterbirds(tmp_path)), held_out=["test"]), steps=1)
    assert data.train_set.names == (f"{BIRDS[0]}0", f"{BIRDS[1]}0") and data.val_set.names == (f"{BIRDS[0]}1",)
    assert data.class_names == ("landbird", "waterbird") and data.train_set.one_class
    groups = [data.train_set[0].group, data.train_set[1].group, data.val_set[0].group]
    assert groups == ["waterbird, land", "landbird, land", "waterbird, water"]
    assert data.train_set[0].exclusive and not data.train_set.has_annotations
    assert opened(tmp_path, "test", group_by=["place"])[0].group == "landbird, 1"


def test_waterbirds_with_the_masks_of_cub(tmp_path: Path):
    grey = np.full((12, 16), 40)
    grey[2:5, 3:8] = 200
    write_mask(waterbirds(tmp_path) / f"segmentations/{BIRDS[0]}0.png", grey)
    data = opened(tmp_path, "train")
    assert torch.equal(data[0].targets[0], plane(np.s_[2:5], np.s_[3:8])) and data[0].segmented and data.one_class
    assert data[0].mask.max() == 2 and (data[1].targets == VOID).all()
    write_mask(tmp_path / f"segmentations/{BIRDS[0]}0.png", grey[:5])
    with pytest.raises(DataError, match=r"0\.png is 16x5 but its image .* is 16x12; make them equal"):
        opened(tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"5,{BIRDS[0]}0.jpg,1,0,0,x", "has a row already"),
        ("5,nowhere.jpg,1,0,0,x", "there is no image 'nowhere.jpg' below"),
        ("5,../../001.Black_footed_Albatross/x.jpg,1,0,0,x", "there is no image"),
        (f"5,{BIRDS[0]}1.jpg,2,0,0,x", "has a row already"),
    ],
)
def test_broken_waterbirds(tmp_path: Path, line: str, words: str):
    with pytest.raises(DataError, match=words):
        opened(waterbirds(tmp_path, line), "train")


def test_waterbirds_with_a_number_that_means_nothing(tmp_path: Path):
    table = waterbirds(tmp_path) / "metadata.csv"
    table.write_text(table.read_text().replace("jpg,1,1,1", "jpg,1,3,1"))
    with pytest.raises(DataError, match=r"line 3, split: expected 0 or 1 or 2 \(train, val, test\), got '3'"):
        opened(tmp_path, "train")
    with pytest.raises(ConfigError, match="no column 'places'; did you mean 'place'"):
        opened(waterbirds(tmp_path), "train", group_by=["places"])
