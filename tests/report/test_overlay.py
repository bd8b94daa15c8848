"""Maps over photographs: what is tinted, how much, and where the lines run."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image

from wheretolook import overlay

INFERNO = 255 * np.array(colormaps["inferno"].colors)
PHOTOGRAPH = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)


def plain(image: object, values: object, **options: object) -> np.ndarray:
    return np.asarray(overlay(image, values, outline=False, **options)).astype(float)


def cone(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Falls from 1 in the middle to 0 at a circle; with each pixel's distance from the middle, the circle's being 1."""
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    distance = np.hypot(rows, columns) / (side / 2)
    return (1 - distance).clip(0), distance


def test_the_tint_is_as_opaque_as_the_map_is_high() -> None:
    values = np.array([[0.0, 1.0, 0.5, 0.0, 0.0, -3.0]] * 4)
    drawn = plain(PHOTOGRAPH, values, opacity=0.8)
    np.testing.assert_array_equal(drawn[:, [0, 3, 4, 5]], PHOTOGRAPH[:, [0, 3, 4, 5]])
    np.testing.assert_allclose(drawn[:, 1], 0.2 * PHOTOGRAPH[:, 1] + 0.8 * INFERNO[255], atol=0.51)
    np.testing.assert_allclose(drawn[:, 2], 0.6 * PHOTOGRAPH[:, 2] + 0.4 * INFERNO[128], atol=0.51)


def test_a_common_scale_makes_equal_attention_equal() -> None:
    one, other = np.zeros((4, 6)), np.zeros((4, 6))
    one[0, 0], one[1, 1], other[0, 0] = 2, 8, 2
    both = [plain(PHOTOGRAPH, values, scale=8.0) for values in (one, other)]
    np.testing.assert_array_equal(both[0][0, 0], both[1][0, 0])
    assert (both[0][0, 0] != plain(PHOTOGRAPH, other)[0, 0]).any()
    np.testing.assert_array_equal(plain(PHOTOGRAPH, one, scale=2.0)[1, 1], plain(PHOTOGRAPH, one)[1, 1])  # and no more


def test_an_empty_map_leaves_the_photograph_which_is_never_drawn_on() -> None:
    image = Image.fromarray(PHOTOGRAPH)
    np.testing.assert_array_equal(np.asarray(overlay(image, np.zeros((2, 2)))), PHOTOGRAPH)
    overlay(image, np.eye(2)).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(image), PHOTOGRAPH)


def test_a_small_map_is_stretched_evenly() -> None:
    small = np.random.default_rng(1).random((3, 4))
    large = F.interpolate(torch.tensor(small)[None, None], size=(40, 60), mode="bilinear", align_corners=False)[0, 0]
    image = np.full((40, 60, 3), 90, np.uint8)
    np.testing.assert_allclose(plain(image, small, scale=1.0), plain(image, large, scale=1.0), atol=1.01)


@pytest.mark.parametrize("side", [101, 600])
def test_the_lines_run_at_a_fifth_and_at_half_of_the_maps_own_maximum(side: int) -> None:
    values, distance = cone(side)
    drawn = np.asarray(overlay(np.full((side, side, 3), 90, np.uint8), values, opacity=0.0))[..., 0]
    pixel = 2 / side
    half, fifth = np.abs(distance - 0.5), np.abs(distance - 0.8)
    assert drawn[half < pixel / 2].mean() > 195
    assert 130 < drawn[fifth < pixel / 2].mean() < drawn[half < pixel / 2].mean() - 25
    assert (drawn[np.minimum(half, fifth) < pixel / 4] > 93).all()
    far = np.minimum(half, fifth) > 4 * pixel
    assert (drawn[far] == 90).all() and (drawn[~far] < 90).any()


def test_lines_do_not_depend_on_the_scale_and_end_at_the_edge() -> None:
    values, _ = cone(80)
    values, grey = values[:, :30], np.full((80, 30, 3), 90, np.uint8)
    first = overlay(grey, values, opacity=0.0)
    for factor, scale in ((1e-30, None), (1.0, 5.0), (1e6, 1.0)):
        other = np.asarray(overlay(grey, factor * values, opacity=0.0, scale=scale)).astype(float)
        assert np.abs(other - np.asarray(first)).mean() < 0.5  # rounding moves a line by a quarter of a pixel at most
    bright = np.asarray(first)[..., 0] > 120
    assert bright[:, 6:].any(axis=0).all() and bright[:, -1].sum() <= 8  # across the image's edge, and not along it


def test_arrays_tensors_and_pictures_are_the_same() -> None:
    values = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = np.asarray(overlay(Image.fromarray(PHOTOGRAPH), values.float().numpy()))
    channels_first = torch.tensor(PHOTOGRAPH).permute(2, 0, 1)
    for image in (PHOTOGRAPH, torch.tensor(PHOTOGRAPH), channels_first, channels_first / 255, PHOTOGRAPH / 255):
        np.testing.assert_array_equal(np.asarray(overlay(image, values.requires_grad_())), expected)
    grey = np.asarray(Image.fromarray(PHOTOGRAPH).convert("L"))
    one, other = (overlay(image, values) for image in (grey, np.repeat(grey[..., None], 3, axis=2)))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert overlay(Image.new("RGBA", (1, 1)), np.ones((1, 1))).size == (1, 1)


@pytest.mark.parametrize(
    ("image", "values", "options", "words"),
    [
        (np.zeros((4, 6, 4)), np.ones((4, 6)), {}, r"expected an image .* got shape \(4, 6, 4\)"),
        (PHOTOGRAPH, np.ones((1, 4, 6)), {}, r"expected a map .* got shape \(1, 4, 6\)"),
        (PHOTOGRAPH, np.full((4, 6), np.nan), {}, "finite"),
        (PHOTOGRAPH, np.ones((4, 6)), {"opacity": 1.5}, "opacity from 0 to 1 .* got 1.5"),
        (PHOTOGRAPH, np.ones((4, 6)), {"scale": 0.0}, "scale above 0"),
    ],
)
def test_what_is_no_image_or_map_is_said(image: object, values: object, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        overlay(image, values, **options)


def test_no_torch_is_needed() -> None:
    script = (
        "import sys, numpy as np, wheretolook;"
        "wheretolook.overlay(np.zeros((4, 6, 3), np.uint8), np.eye(2)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
