import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.data.images import read_image
from wheretolook.errors import DataError
from wheretolook.images import image_size, resized

from .folders_on_disk import write_image


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
