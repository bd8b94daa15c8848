import os
import re

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.data import describe_classes
from wheretolook.data.images import read_image
from wheretolook.data.masks import mask_labels, voc_palette
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError
from wheretolook.images import image_size
from wheretolook.public import VOC_CLASSES

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask, write_voc


def read_mask(path, classes, resize, *, of):
    """One image with its mask, as it is served."""
    names = tuple(f"class{index}" for index in range(classes))
    return StoredImages([Entry("a", of, path)], names, resize)[0].mask


@pytest.mark.parametrize("resize", [None, 9, 40])
def test_header_and_pixels_agree_about_the_size(tmp_path, resize):
    write_image(tmp_path / "a.png", 13, 29)
    write_mask(tmp_path / "m.png", corner_mask(1, 13, 29))
    size = image_size(tmp_path / "a.png", resize)
    assert read_image(tmp_path / "a.png", resize).shape[1:] == size
    assert read_mask(tmp_path / "m.png", 1, resize, of=tmp_path / "a.png").shape == size


def test_resized_mask_has_no_values_in_between(tmp_path):
    write_image(tmp_path / "a.png")
    write_mask(tmp_path / "m.png", corner_mask(8))
    mask = read_mask(tmp_path / "m.png", 8, 7, of=tmp_path / "a.png")
    assert set(mask.unique().tolist()) <= {0, 8, 255}
    assert mask[0, 0] == 8


@pytest.mark.parametrize("palette", [False, True])
def test_mask_keeps_its_indices_whatever_its_palette(tmp_path, palette):
    write_image(tmp_path / "a.png")
    image = Image.fromarray(corner_mask(3))
    if palette:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png", 3, None, of=tmp_path / "a.png")
    assert mask.dtype == torch.int64
    np.testing.assert_array_equal(mask.numpy(), corner_mask(3))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("colours", r"m\.png has colours \(mode RGB\); expected a palette or grayscale PNG"),
        ("jpeg", r"m\.png is a JPEG file; expected a PNG"),
        ("size", r"m\.png is 16x11 but its image .*a\.png is 16x12"),
        ("value", r"m\.png has the value 9, but there are 3 classes: expected 0 to 3, or 255 for void"),
        ("missing", r"cannot read mask .*m\.png: no such file"),
        ("cut off", r"cannot read mask .*m\.png: .*(truncated|broken|trailer|incomplete)"),
        ("text", r"mask .*m\.png is no image file"),
    ],
)
def test_bad_masks_are_named(tmp_path, bad, words):
    write_image(tmp_path / "a.png")
    mask, path = corner_mask(9 if bad == "value" else 3, 11 if bad == "size" else 12), tmp_path / "m.png"
    write_mask(path, mask)
    if bad == "colours":
        Image.fromarray(mask).convert("RGB").save(path)
    if bad == "jpeg":
        Image.fromarray(mask).save(path, format="JPEG")
    if bad == "cut off":
        path.write_bytes(path.read_bytes()[:60])
    if bad == "text":
        path.write_text("hello")
    if bad == "missing":
        path.unlink()
    with pytest.raises(DataError, match=words) as caught:
        read_mask(path, 3, None, of=tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_labels_are_the_classes_with_a_pixel():
    assert mask_labels(torch.full((2, 2), 255), 3).tolist() == [False] * 3
    assert mask_labels(torch.tensor([[3, 0], [1, 255]]), 254)[:4].tolist() == [True, False, True, False]


@pytest.fixture
def drawn(tmp_path):
    """A plain folder of four images with masks of two classes."""
    for index, name in enumerate("abcd"):
        write_image(tmp_path / "images" / f"{name}.jpg", seed=index)
        write_mask(tmp_path / "masks" / f"{name}.png", corner_mask(1 + index % 2))
    write_lines(tmp_path / "classes.txt", "cat", "dog")
    write_lines(tmp_path / "splits/all.txt", *"abcd")
    return tmp_path


def test_masks_of_0_and_255_are_refused_where_none_has_a_class(drawn):
    """What most drawing tools save for one class: the object would be read as void."""
    for name in "abcd":
        write_mask(drawn / "masks" / f"{name}.png", np.where(corner_mask(1) == 1, 255, 0))
    with pytest.raises(DataError, match=r"the masks mark no class, only 0 and 255, such as .*d\.png; 255 means void"):
        opened(drawn, "all")
    write_mask(drawn / "masks/d.png", corner_mask(2))
    assert len(opened(drawn, "all")) == 4  # void in three, a class in one: an image may show nothing but borders


def test_a_split_of_background_alone_is_no_mistake(drawn):
    for name in "abcd":
        write_mask(drawn / "masks" / f"{name}.png", np.zeros((12, 16)))
    assert not opened(drawn, "all")[0].labels.any()


@pytest.mark.parametrize("value", [255, 0])
def test_a_mask_without_a_class_must_not_contradict_its_labels(drawn, value):
    write_mask(drawn / "masks/c.png", np.where(corner_mask(1) == 1, value, 0))
    write_lines(drawn / "labels.csv", "image,classes", "c,dog", "d,dog")
    data = opened(drawn, "all")
    with pytest.raises(DataError, match=r"c\.png has no class, only 0.*, but its image is labelled 'dog'; 255 means"):
        data[2]
    with pytest.raises(DataError, match=r"c\.png has no class"):
        describe_classes(data)


def test_the_classes_of_a_run_are_counted(drawn):
    """Against the masks read one by one by hand."""
    write_mask(drawn / "masks/a.png", np.zeros((12, 16)))
    both = corner_mask(2)
    both[8:, 3:6] = 1
    write_mask(drawn / "masks/b.png", both)
    assert describe_classes(opened(drawn, "all")) == "4 images: cat 2, dog 2, none of them 1"
    write_lines(drawn / "classes.txt", "cat", "dog", "owl")
    said = describe_classes(opened(drawn, "all"))
    assert said.endswith(
        "owl 0, none of them 1 (no image shows owl: are classes counted from 0? a mask's value 1 is the first)"
    )
    write_lines(drawn / "classes.txt", "cat", "dog", "owl", "elk")
    assert describe_classes(opened(drawn, "all")).endswith("(no image shows owl, elk)")


def test_masks_are_counted_again_only_where_something_has_changed(drawn, monkeypatch):
    """Every stage of a run opens the same data, and a user mends a mask between two looks."""
    first = describe_classes(opened(drawn, "all"))
    data = opened(drawn, "all")
    monkeypatch.setattr(StoredImages, "_values", lambda *args: pytest.fail("read again"))
    assert describe_classes(data) == first == "4 images: cat 2, dog 2"
    monkeypatch.undo()
    write_mask(drawn / "masks/a.png", corner_mask(2))
    os.utime(drawn / "masks/a.png", ns=(1, 1))  # another time, whatever the clock's resolution
    assert describe_classes(opened(drawn, "all")) == "4 images: cat 1, dog 3"
    write_lines(drawn / "labels.csv", "image,classes", "a,cat")  # what the tables say is part of it
    write_mask(drawn / "masks/a.png", np.zeros((12, 16)))
    os.utime(drawn / "masks/a.png", ns=(1, 1))
    with pytest.raises(DataError, match=r"a\.png has no class"):
        describe_classes(opened(drawn, "all"))


@pytest.mark.parametrize(("patience", "said"), [(-1, 1), (1000, 0)])
def test_a_long_count_is_said_once(drawn, caplog, monkeypatch, patience, said):
    monkeypatch.setattr("wheretolook.data.dataset.PATIENCE", patience)
    describe_classes(opened(drawn, "all"))
    assert caplog.text.count("counting the classes of 4 images, once") == said


def test_a_long_list_of_classes_is_cut_short(drawn):
    write_lines(drawn / "classes.txt", *(f"class{index}" for index in range(100)))
    said = describe_classes(opened(drawn, "all"))
    assert "class0 2, class1 2, class2 0" in said and "class39 0 and 60 more (no image shows class2" in said
    assert said.endswith("class41 and 58 more)") and len(said) < 1500


def test_counting_sees_small_objects_that_resizing_loses(drawn):
    for name in "abcd":
        mask = np.zeros((12, 16))
        mask[5, 7] = 2
        write_mask(drawn / "masks" / f"{name}.png", mask)
    data = opened(drawn, "all", resize=4)
    assert not any(data[index].labels.any() for index in range(4))
    assert describe_classes(data).startswith("4 images: cat 0, dog 4")


def renumbered(mask, order, colours):
    """The same picture to look at, its values in another order: what an editor does that drops unused colours."""
    palette, values = np.zeros((256, 3), np.uint8), np.zeros_like(mask)
    for new, old in enumerate(order):
        values[mask == old] = new
        palette[new] = colours[old]
    image = Image.fromarray(values)
    image.putpalette(palette.tobytes())
    return image


def in_colours(mask, colours):
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(np.array(colours, np.uint8).tobytes())
    return image


def test_a_renumbered_palette_of_voc_is_seen(tmp_path):
    write_voc(tmp_path)
    mask = corner_mask(12)
    in_colours(mask, voc_palette()).save(tmp_path / "SegmentationClass/a.png")
    assert opened(tmp_path, "train")[0].labels.nonzero().flatten().tolist() == [11]
    renumbered(mask, (0, 12, 255), voc_palette()).save(tmp_path / "SegmentationClass/a.png")
    with pytest.raises(DataError, match=r"the value 1 in the colour \(64, 0, 128\), which is .* of 12 \(dog\)"):
        opened(tmp_path, "train")[0]


@pytest.mark.parametrize(("value", "what"), [(0, "0 (background)"), (255, "255 (void)"), (20, "20 (tvmonitor)")])
def test_a_class_in_the_colour_of_something_else_is_named(tmp_path, value, what):
    palette = list(voc_palette())
    palette[2] = palette[value]
    in_colours(corner_mask(2), palette).save(write_voc(tmp_path) / "SegmentationClass/a.png")
    with pytest.raises(DataError, match=re.escape(f"which is the colour of {what} in other masks")):
        opened(tmp_path, "train")[0]
    palette[2] = (1, 2, 3)  # a colour that means nothing is no sign of another number
    in_colours(corner_mask(2), palette).save(tmp_path / "SegmentationClass/a.png")
    assert opened(tmp_path, "train")[0].labels.nonzero().flatten().tolist() == [1]


def test_a_palette_unlike_that_of_most_masks_is_seen(drawn):
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    for index, name in enumerate("abcd"):
        in_colours(corner_mask(1 + index % 2), colours).save(drawn / "masks" / f"{name}.png")
    assert len([opened(drawn, "all")[index] for index in range(4)]) == 4
    renumbered(corner_mask(2), (0, 2, 255), colours).save(drawn / "masks/d.png")
    data = opened(drawn, "all")
    data[2]
    with pytest.raises(DataError, match=r"d\.png has the value 1 in the colour .* of 2 \(dog\) in other masks"):
        data[3]
    in_colours(corner_mask(2), 255 - colours).save(drawn / "masks/d.png")  # other colours, and no sign of other numbers
    assert opened(drawn, "all")[3].labels.tolist() == [False, True]


def test_voc_palette_is_vocs():
    """Five colours of the development kit's documentation, and none twice."""
    colours = dict(zip(("background", *VOC_CLASSES), voc_palette(), strict=False))
    assert (
        colours["background"] == (0, 0, 0) and colours["bicycle"] == (0, 128, 0) and colours["bottle"] == (128, 0, 128)
    )
    assert colours["person"] == (192, 128, 128) and colours["tvmonitor"] == (0, 64, 128)
    assert len(set(voc_palette())) == 256


@pytest.mark.parametrize(("suffix", "mode"), [("bmp", "L"), ("bmp", "P"), ("tif", "L"), ("tiff", "P"), ("tif", "I;16")])
def test_masks_in_other_lossless_files_are_read(drawn, suffix, mode):
    (drawn / "masks/a.png").unlink()
    mask = corner_mask(2)
    image = (
        in_colours(mask, voc_palette()) if mode == "P" else Image.fromarray(mask.astype("u2" if "16" in mode else "u1"))
    )
    image.save(drawn / f"masks/a.{suffix}")
    np.testing.assert_array_equal(opened(drawn, "all")[0].mask.numpy(), mask)


def test_masks_that_lose_values_are_said(drawn, caplog):
    (drawn / "masks/a.png").unlink()
    Image.fromarray(corner_mask(2)).save(drawn / "masks/a.jpg")
    write_lines(drawn / "labels.csv", "image,classes", "a,dog")
    data = opened(drawn, "all")
    assert not data[0].segmented
    assert "masks: 1 file is not read, first a.jpg; expected .png, .bmp, .tif, .tiff" in caplog.text
    Image.fromarray(corner_mask(2)).save(drawn / "masks/a.tif", compression="jpeg")
    with pytest.raises(DataError, match=r"a\.tif is compressed with loss; expected a PNG, BMP or TIFF"):
        opened(drawn, "all")[0]


def stored(picture, orientation):
    """The rows and columns of a file that shows this picture, once it is turned as the tag says; from EXIF's table."""
    first = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }  # fmt: skip
    row, column = first[orientation]  # which side of the picture the file's first row and first column are
    rows_across = row in ("left", "right")
    picture = picture.swapaxes(0, 1) if rows_across else picture
    picture = picture[::-1] if row in ("bottom", "right") else picture
    return picture[:, ::-1] if column in ("bottom", "right") else picture


def write_turned(path, picture, orientation):
    tag = Image.Exif()
    tag[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored(picture, orientation))).save(path, exif=tag)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_and_their_masks_stand_upright(drawn, orientation, suffix):
    """Whichever pixels the mask was drawn on: the red of the picture is where the mask says that the class is."""
    mask = corner_mask(2)
    picture = np.where(mask[..., None] == 2, [255, 0, 0], [0, 0, 9]).astype(np.uint8)
    picture[:2, :8, 1] = 200  # green marks the top and blue the left, so that no mirror image looks right
    picture[:6, :2, 2] = 200
    (drawn / "images/a.jpg").unlink()
    write_turned(drawn / f"images/a.{suffix}", picture, orientation)
    masks = [mask] if orientation < 5 else [mask, stored(mask, orientation)]
    for values in masks:
        write_mask(drawn / "masks/a.png", np.ascontiguousarray(values))
        sample = opened(drawn, "all")[0]
        assert torch.equal((sample.image[0] * 255).round().byte(), torch.from_numpy(picture[..., 0]))
        assert torch.equal((sample.image[1:] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(picture[..., 1:]))
        np.testing.assert_array_equal(sample.mask.numpy(), mask)
        assert image_size(drawn / f"images/a.{suffix}") == (12, 16)


@pytest.mark.parametrize(
    ("orientation", "size", "said"),
    [(1, (12, 16), False), (3, (12, 16), True), (6, (12, 16), False), (2, (9, 9), True), (8, (9, 9), True)],
)
def test_a_turn_that_no_mask_can_show_is_said_once(drawn, caplog, orientation, size, said):
    (drawn / "images/b.jpg").unlink()
    write_turned(drawn / "images/b.png", np.zeros((*size, 3), np.uint8), orientation)
    write_mask(drawn / "masks/b.png", corner_mask(1, *size))
    (drawn / "images/d.jpg").unlink()  # a second one, of which nothing more is to be said
    write_turned(drawn / "images/d.png", np.zeros((*size, 3), np.uint8), orientation)
    write_mask(drawn / "masks/d.png", corner_mask(1, *size))
    describe_classes(opened(drawn, "all"))
    describe_classes(opened(drawn, "all"))
    assert caplog.text.count("EXIF tag") == said
    assert caplog.text.count("b.png and perhaps others are turned by their EXIF tag") == said


@pytest.mark.parametrize("boxed", [True, False])
def test_a_turn_is_said_of_boxes_too_and_not_of_labels(tmp_path, caplog, boxed):
    (tmp_path / "images").mkdir()
    write_turned(tmp_path / "images/a.png", np.zeros((12, 16, 3), np.uint8), 4)
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat")
    write_lines(tmp_path / "splits/all.txt", "a")
    if boxed:
        write_lines(tmp_path / "boxes.csv", "image,class,left,top,right,bottom", "a,cat,1,1,5,5")
    opened(tmp_path, "all")
    assert caplog.text.count("masks and boxes are taken to be drawn on the upright image") == boxed


def test_a_mask_of_neither_size_is_refused(drawn):
    write_mask(drawn / "masks/a.png", corner_mask(1, 16, 12))  # turned, but its image is not
    with pytest.raises(DataError, match=r"a\.png is 12x16 but its image .*a\.jpg is 16x12"):
        opened(drawn, "all")[0]
