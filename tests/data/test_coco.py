"""COCO's json as its makers and three tools write it, broken and hostile files, and planes against pycocotools' own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from wheretolook.data import describe_classes
from wheretolook.data.drawings import _runs
from wheretolook.data.exports import read_json
from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image

SQUARE = [2, 2, 9, 2, 9, 7, 2, 7]
CATEGORIES = [{"id": 3, "name": "dog", "supercategory": "animal"}, {"id": 1, "name": "cat", "supercategory": "animal"}]


def image(number: int, file: str, **more: object) -> dict:
    return {"id": number, "file_name": file, "height": 12, "width": 16, "license": 1, **more}


def annotation(number: int, of: int, category: int, **more: object) -> dict:
    return {"id": number, "image_id": of, "category_id": category, "iscrowd": 0, "area": 35.0, **more}


def polygon(number: int, of: int, category: int, *parts: list) -> dict:
    return annotation(number, of, category, segmentation=list(parts or (SQUARE,)), bbox=[2, 2, 7, 5])


def write(path: Path, images: list, annotations: list, categories: list = CATEGORIES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return path


def crowd(rows: slice, columns: slice) -> dict:
    """Uncompressed run lengths, column by column, as COCO's crowds have them."""
    pixels = np.zeros((12, 16), np.uint8)
    pixels[rows, columns] = 1
    counts, value = [], 0
    for pixel in pixels.T.flatten():
        if pixel != value:
            counts, value = [*counts, 0], pixel
        counts = [*counts[:-1], counts[-1] + 1] if counts else [1]
    return {"size": [12, 16], "counts": counts}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """As COCO itself: a folder of annotations, a folder of images for each split, captions beside."""
    for number in range(3):
        write_image(tmp_path / f"train2017/00{number}.jpg", seed=number)
    write_image(tmp_path / "val2017/009.jpg")
    annotations = [
        polygon(1, 7, 3),
        polygon(2, 7, 1, [5, 5, 14, 4, 12, 11, 6, 10]),
        annotation(3, 7, 1, iscrowd=1, segmentation=crowd(np.s_[0:4], np.s_[10:14]), bbox=[10, 0, 4, 4]),
        annotation(
            4, 8, 3, segmentation=coco_mask.encode(np.asfortranarray(np.eye(12, 16, dtype=np.uint8))), bbox=[0] * 4
        ),
    ]
    annotations[3]["segmentation"]["counts"] = annotations[3]["segmentation"]["counts"].decode()
    images = [image(7, "000.jpg"), image(8, "001.jpg"), image(9, "002.jpg")]
    write(tmp_path / "annotations/instances_train2017.json", images, annotations)
    write(tmp_path / "annotations/instances_val2017.json", [image(1, "009.jpg")], [polygon(1, 1, 1)])
    (tmp_path / "annotations/captions_train2017.json").write_text("{}")
    return tmp_path


def test_planes_are_those_of_pycocotools(coco: Path):
    data = opened(coco, "train", training=True)
    reference = COCO(str(coco / "annotations/instances_train2017.json"))
    drawn = {number: reference.annToMask(reference.anns[number]) > 0 for number in (1, 2, 3, 4)}
    assert data.class_names == ("cat", "dog") and data.names == ("train2017/000", "train2017/001", "train2017/002")
    first = data[0]
    cat, dog = first.targets.numpy()
    np.testing.assert_array_equal(cat, np.where(drawn[2], 1, np.where(drawn[3], VOID, 0)))
    np.testing.assert_array_equal(dog, np.where(drawn[1], 1, np.where(drawn[3], VOID, 0)))
    assert (drawn[1] & drawn[2]).any()  # classes overlap, and neither cuts the other's plane
    smaller = np.where(drawn[1], 2, 1) if drawn[1].sum() < drawn[2].sum() else np.where(drawn[2], 1, 2)
    expected = np.where(drawn[1] | drawn[2], smaller, np.where(drawn[3], VOID, 0))
    np.testing.assert_array_equal(first.mask.numpy(), expected)
    np.testing.assert_array_equal(data[1].targets[0].numpy(), drawn[4])
    assert first.segmented and data[2].segmented and not data[2].mask.any() and not data[2].labels.any()
    assert not data.one_class and describe_classes(data) == "3 images: cat 1, dog 2, none of them 1"


def test_a_split_is_called_as_its_file_or_without_the_year(coco: Path):
    for split in ("val", "val2017"):
        assert opened(coco, split).names == ("val2017/009",)
    with pytest.raises(DataError, match=r"no split 'trian'; did you mean 'train'\?; available: train, train2017, val"):
        opened(coco, "trian")
    data = ImageData(DataOptions(root=str(coco), batch_size=3, crop=(8, 8)), steps=2)
    batch = next(iter(data.train_dataloader()))
    assert len(batch.targets) == len(batch.pairs) and batch.images.shape == (3, 3, 8, 8)


def test_cvat_writes_splits_in_capitals(tmp_path: Path):
    for number, split in enumerate(("Train", "Validation")):
        write_image(tmp_path / f"images/{split}/{number}.jpg", seed=number)
        write(tmp_path / f"annotations/instances_{split}.json", [image(1, f"{number}.jpg")], [polygon(1, 1, 1)])
    data = ImageData(DataOptions(root=str(tmp_path)), steps=1)
    assert data.train_set.names == ("images/Train/0",) and data.val_set.names == ("images/Validation/1",)


def test_resizing_takes_the_nearest_pixel_of_the_full_size(coco: Path):
    full, half = (opened(coco, "train", resize=resize)[0].targets for resize in (None, 8))
    assert torch.equal(half, full[:, 1::2, 1::2])


def test_roboflow(tmp_path: Path):
    """A folder for each split with images and file together; category 0 is the project."""
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "pets"}]
    for split in ("train", "valid"):
        file = "1_jpg.rf.8a7f.jpg"  # the same names in each
        write_image(tmp_path / split / file, seed=len(split))
        boxed = annotation(0, 0, 1, segmentation=[], bbox=[2, 2, 7.5, 5])
        write(tmp_path / split / "_annotations.coco.json", [image(0, file)], [boxed], categories)
    data = ImageData(DataOptions(root=str(tmp_path)), steps=1)
    assert data.class_names == ("cat",) and data.train_set.names == ("train/1_jpg.rf.8a7f",)
    assert data.val_set.names == ("valid/1_jpg.rf.8a7f",)
    sample = data.train_set[0]
    expected = torch.zeros(12, 16, dtype=torch.uint8)
    expected[2:7, 2:10] = 1
    assert torch.equal(sample.targets[0], expected) and not sample.segmented and not data.train_set.has_masks


@pytest.mark.parametrize("tool", ["cvat", "label_studio"])
def test_one_file_for_all_is_cut_by_names(tmp_path: Path, tool: str):
    files = [f"{number:02d}.png" for number in range(30)]
    for file in files:
        write_image(tmp_path / "images" / ("default" if tool == "cvat" else "") / file)
    written = {"cvat": "annotations/instances_default.json", "label_studio": "result.json"}[tool]
    path = "" if tool == "cvat" else "..\\..\\label-studio\\data\\media\\upload\\1\\"
    images = [image(number, path + file) for number, file in enumerate(files)]
    write(tmp_path / written, images, [polygon(number, number, 1) for number in range(30)])
    data = ImageData(DataOptions(root=str(tmp_path)), steps=1)
    train, val = set(data.train_set.names), set(data.val_set.names)
    assert len(train) + len(val) == 30 and not train & val and len(val) >= 2
    assert data.train_set[0].targets.sum() == 35 and data.train_set.has_masks


def test_a_file_is_read_once_and_again_when_it_has_changed(coco: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    monkeypatch.setattr("wheretolook.data.coco.read_json", lambda path: read.append(path.name) or read_json(path))
    assert len(opened(coco, "train")) == 3 and len(opened(coco, "val")) == 1 and len(read) == 2
    images = [image(1, "009.jpg"), image(2, "002.jpg")]
    write(coco / "annotations/instances_val2017.json", images, [polygon(1, 1, 1), polygon(2, 2, 3)])
    assert opened(coco, "val").names == ("val2017/009", "train2017/002") and len(read) == 4


def test_categories_need_no_number_0_and_nothing_above_them(coco: Path):
    bare = [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}]
    write(coco / "annotations/instances_train2017.json", [image(7, "000.jpg")], [polygon(1, 7, 2)], bare)
    write(coco / "annotations/instances_val2017.json", [image(1, "009.jpg")], [polygon(1, 1, 1)], bare)
    assert opened(coco, "val").class_names == ("dog", "cat")


def test_a_background_of_no_object_is_no_class(coco: Path):
    for split in ("train", "val"):
        path = coco / f"annotations/instances_{split}2017.json"
        record = json.loads(path.read_text())
        record["categories"].insert(0, {"id": 0, "name": "_background_", "supercategory": "none"})
        path.write_text(json.dumps(record))
    assert opened(coco, "val").class_names == ("cat", "dog")


def test_images_without_objects_are_no_masks_where_only_boxes_are_drawn(tmp_path: Path):
    for number in range(2):
        write_image(tmp_path / f"train/{number}.jpg")
    boxed = annotation(0, 0, 1, bbox=[2, 2, 7, 5])
    write(tmp_path / "train/_annotations.coco.json", [image(0, "0.jpg"), image(1, "1.jpg")], [boxed])
    data = opened(tmp_path, "train")
    assert not data.has_masks and (data[1].mask == VOID).all() and not data[1].labels.any()


BROKEN = {
    "an unknown category": (lambda record: record["annotations"][0].update(category_id=5), "is of category 5, which"),
    "an unknown image": (lambda record: record["annotations"][0].update(image_id=5), "is of image 5, which is not"),
    "an id twice": (lambda record: record["images"].append(record["images"][0]), "two images have the id 1"),
    "no categories": (lambda record: record.pop("categories"), "expected a list of records 'categories'"),
    "a polygon of two corners": (
        lambda record: record["annotations"][0].update(segmentation=[[1, 1, 5, 5]]),
        "annotation 1: expected a polygon of at least 3 corners, x and y of each, got 4 numbers",
    ),
    "words for numbers": (
        lambda record: record["annotations"][0].update(segmentation=[["a"] * 6]),
        "expected a list of numbers",
    ),
    "an empty box": (
        lambda record: record["annotations"][0].update(segmentation=[], bbox=[3, 3, 0, 2]),
        "the box from 3 3 to 3 5 is empty",
    ),
    "an image that is not there": (
        lambda record: record["images"][0].update(file_name="010.jpg"),
        "there is no image '010.jpg' below .*; did you mean '009.jpg'",
    ),
    "a path that leaves": (
        lambda record: record["images"][0].update(file_name="../../../../etc/passwd"),
        "there is no image '../../../../etc/passwd' below",
    ),
    "an image of another size": (
        lambda record: record["images"][0].update(height=13),
        "is of an image of 16x13, but .*009.jpg is 16x12; make them equal",
    ),
    "a gigantic image": (
        lambda record: record["images"][0].update(height=10**9, width=10**9),
        "is of an image of 1000000000x1000000000, but",
    ),
    "gigantic run lengths": (
        lambda record: record["annotations"][0].update(segmentation={"size": [10**6, 10**6], "counts": [10**12]}),
        r"expected run lengths of the size \[12, 16\], got \[1000000, 1000000\]",
    ),
    "run lengths past the end": (
        lambda record: record["annotations"][0].update(segmentation={"size": [12, 16], "counts": [1, 10**9]}),
        "expected run lengths that fill 16x12 pixels",
    ),
    "compressed run lengths past the end": (
        lambda record: record["annotations"][0].update(segmentation={"size": [12, 16], "counts": "0oooooo0"}),
        "expected run lengths that fill 16x12 pixels",
    ),
    "no run lengths": (
        lambda record: record["annotations"][0].update(segmentation={"size": [12, 16]}),
        "expected run lengths that fill 16x12 pixels",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_said_in_one_line(coco: Path, what: str):
    change, words = BROKEN[what]
    path = coco / "annotations/instances_val2017.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=words) as caught:
        opened(coco, "val")[0]
    assert "\n" not in str(caught.value)


def test_files_that_are_no_json(coco: Path):
    for text in ("{", "[" * 100_000, "\udcff".encode(errors="surrogateescape")):
        (coco / "annotations/instances_val2017.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=r"instances_val2017\.json is no JSON, or a broken one"):
            opened(coco, "val")


def test_polygons_that_leave_the_image_are_cut_at_its_edge(coco: Path):
    far = [-1e12, 3, 1e12, 3, 1e12, 6, -1e12, 6]
    write(coco / "annotations/instances_val2017.json", [image(1, "009.jpg")], [polygon(1, 1, 1, far)])
    target = opened(coco, "val")[0].targets[0]
    assert (target[3:6] == 1).all() and target.sum() == 3 * 16


def test_run_lengths_are_counted_as_pycocotools_reads_them():
    for seed in range(20):
        pixels = np.random.default_rng(seed).random((37, 41)) < 0.02 * seed
        counts = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"]
        assert _runs(counts) == _runs(counts.decode()) == pixels.size


def test_one_name_in_two_folders_is_told_by_the_files_place_or_refused(coco: Path):
    write_image(coco / "test2017/009.jpg", seed=5)
    with pytest.raises(DataError, match=r"'009\.jpg' may be test2017/009 or val2017/009"):
        opened(coco, "val")
    write(coco / "annotations/instances_val2017.json", [image(1, "val2017/009.jpg")], [polygon(1, 1, 1)])
    assert opened(coco, "val").names == ("val2017/009",)


def test_an_image_with_a_crowd_alone_shows_its_class(tmp_path: Path):
    write_image(tmp_path / "images/a.jpg")
    drawn = annotation(1, 1, 3, iscrowd=1, segmentation=crowd(np.s_[0:4], np.s_[10:14]), bbox=[10, 0, 4, 4])
    write(tmp_path / "annotations/instances_all.json", [image(1, "a.jpg")], [drawn])
    sample = opened(tmp_path, "all")[0]
    assert sample.labels.tolist() == [False, True] and (sample.targets == 255).all()
    assert (sample.mask[0:4, 10:14] == 255).all() and (sample.mask == 255).sum() == 16
    write(tmp_path / "annotations/instances_all.json", [image(1, "a.jpg"), image(2, "./a.jpg")], [drawn])
    with pytest.raises(DataError, match="image 2 is 'images/a', as another one is"):
        opened(tmp_path, "all")
