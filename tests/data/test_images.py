import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.data.images import image_size, mask_labels, read_image, read_mask, resized
from wheretolook.errors import DataError

from .folders_on_disk import corner_mask, write_image, write_mask


def test_image_is_rgb_between_zero_and_one(tmp_path):
    values = write_image(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.float32
    np.testing.assert_array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    torch.testing.assert_close(read_image(tmp_path / f"a.{suffix}"), torch.ones(3, 3, 4))


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((3, 4), 1000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has mode I;16; expected 8 bits"):
        read_image(tmp_path / "a.png")


def test_image_stands_upright_and_its_size_says_so(tmp_path):
    """Orientation 6: the first row of the file is the right edge of the picture."""
    values = np.zeros((2, 3, 3), np.uint8)
    values[0] = 255
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "a.png", exif=tag)
    image = read_image(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (3, 2)
    torch.testing.assert_close(image[0], torch.tensor([[0.0, 1], [0, 1], [0, 1]]))


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [((240, 320), None, (240, 320)), ((240, 320), 64, (48, 64)), ((320, 240), 64, (64, 48)), ((1, 1000), 10, (1, 10))],
)
def test_resize_is_of_the_longer_side(size, resize, expected):
    assert resized(size, resize) == expected


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


@pytest.mark.parametrize("resize", [None, 8])
def test_truncated_jpeg_is_named(tmp_path, resize):
    path = tmp_path / "a.jpg"
    write_image(path, 60, 80)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cannot read image .*a\.jpg: image file is truncated.*; replace it"):
        read_image(path, resize)


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"a\.png has more than 100 pixels"):
        read_image(tmp_path / "a.png")


def test_labels_are_the_classes_with_a_pixel():
    assert mask_labels(torch.full((2, 2), 255), 3).tolist() == [False] * 3
    assert mask_labels(torch.tensor([[3, 0], [1, 255]]), 254)[:4].tolist() == [True, False, True, False]
