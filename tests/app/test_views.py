"""What the page shows, without a page: numbers against second derivations, and files that are not what they seem."""

import itertools
import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.app import views
from wheretolook.app.views import Fit, Look
from wheretolook.errors import DataError
from wheretolook.losses.mining import masked_images, soft_mask
from wheretolook.networks.guide import guide
from wheretolook.options.objective import Method
from wheretolook.records import CAFFE, GuidedNetwork, Preprocessing
from wheretolook.report.overlay import sized

from ..networks.narrow import narrow


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


class Linear(torch.nn.Module):
    """Class scores that are the mean of its cells; refuses every size but 32x32."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = torch.nn.Conv2d(3, 2, 8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[2:] != (32, 32):
            raise ValueError("32x32 only")
        return self.cells(images).mean(dim=(2, 3))


def one_class(network: GuidedNetwork, pixels: np.ndarray, class_index: int) -> Look:
    return views.look(network, pixels, class_index, "grad_cam", exclusive=False)[1]


def test_chances_and_segmentation_are_those_of_a_plain_forward(pixels: np.ndarray) -> None:
    network = narrow()
    with torch.no_grad():
        output = network(network.preprocessing(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255))
    chosen, seen = views.look(network, pixels, None, "grad_cam", exclusive=False)
    assert chosen == int(output.class_scores.argmax())
    np.testing.assert_allclose(seen.chances, output.class_scores[0].detach().sigmoid(), rtol=1e-5)
    np.testing.assert_array_equal(seen.prediction, output.mask_scores[0].argmax(dim=0))
    exclusive = views.look(network, pixels, 1, "grad_cam", exclusive=True)[1].chances
    np.testing.assert_allclose(exclusive, output.class_scores[0].detach().softmax(dim=0), rtol=1e-5)


def test_a_network_of_one_size_alone_sees_the_image_squeezed_to_it_and_the_map_is_stretched_back() -> None:
    network = guide(Linear(), class_names=("a", "b"), input_size=32).eval()
    wide = np.zeros((40, 120, 3), np.uint8)
    seen = one_class(network, wide, 1)
    assert seen.attention.shape == (40, 120)
    square = np.array(Image.fromarray(wide).resize((32, 32)))
    np.testing.assert_allclose(seen.chances, one_class(network, square, 1).chances, rtol=1e-4)


@pytest.mark.parametrize(
    "preprocessing", [CAFFE, Preprocessing("RGB", 1.0, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))], ids=["bgr", "rgb"]
)
def test_the_erased_picture_is_what_the_network_is_given(pixels: np.ndarray, preprocessing: Preprocessing) -> None:
    """Run as an image, it is the masked image of the mining loss, but for rounding to 256 levels."""
    network = narrow()
    network.preprocessing = preprocessing
    seen = one_class(network, pixels, 0)
    erased = views.erase(network, pixels, seen.attention, 0.5, exclusive=False)
    attention = torch.from_numpy(seen.attention)[None]
    assert attention.max() > 0
    mask = soft_mask((attention - attention.min()) / (attention.max() - attention.min()))
    given = network.preprocessing(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    wanted = masked_images(given, mask)
    shown = network.preprocessing(torch.from_numpy(erased.pixels).permute(2, 0, 1)[None] / 255)
    level = preprocessing.scale / 255 / min(preprocessing.std)
    assert (shown - wanted).abs().max() <= 0.51 * level
    with torch.no_grad():
        chances = network(wanted, segment=False).class_scores[0].detach().sigmoid()
    np.testing.assert_allclose(erased.chances, chances, rtol=1e-4)
    assert not np.allclose(erased.chances, seen.chances)


def test_energy_in_a_drawing_by_hand() -> None:
    attention = np.array([[1.0, 3.0], [0.0, 4.0]], np.float32)
    zone = np.array([[False, True], [True, False]])
    assert views.inside(attention, zone) == (pytest.approx(3 / 8), 0.5)
    assert views.inside(0 * attention, zone).energy == 0


def test_each_stroke_is_of_the_nearer_brush_and_the_last_one_counts() -> None:
    first, second = np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8)
    first[0, :3] = (*views.LOOK_COLOUR, 255)
    first[1, 0] = (20, 190, 80, 255)  # an edge made smooth
    first[1, 3] = (*views.LOOK_COLOUR, 100)  # hardly there
    second[0, 2] = (*views.AVOID_COLOUR, 255)
    look_here, avoid = views.drawn_zones([first, second], (2, 4))
    assert look_here.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert avoid.tolist() == [[False, False, True, False], [False] * 4]
    larger = views.drawn_zones([first], (4, 8))[0]
    np.testing.assert_array_equal(larger, views.drawn_zones([first], (2, 4))[0].repeat(2, 0).repeat(2, 1))


def test_attention_of_two_networks_has_one_scale(pixels: np.ndarray) -> None:
    """A map ten times fainter is drawn fainter, and one of nothing leaves the photograph."""
    strong, faint = (np.full(pixels.shape[:2], value, np.float32) for value in (1.0, 0.1))
    looks = [Look(np.ones(1, np.float32), attention, None) for attention in (strong, faint, 0 * strong)]
    drawn = [np.asarray(each).astype(int) for each in views.attention_pictures(pixels, looks, 1.0)]
    ground = np.asarray(sized(pixels, views.SHOWN)).astype(int)
    change = [np.abs(each - ground).mean() for each in drawn]
    assert change[0] > 5 * change[1] > 0 and change[2] == 0


def test_images_are_upright_and_never_larger_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3000, 2000)).save(path, exif=exif)
    picture = views.open_picture(path)
    assert picture.size == (3000, 2000) and picture.pixels.shape == (640, 427, 3) and picture.name == "turned"
    assert views.open_picture(path, Fit(resize=96)).pixels.shape == (96, 64, 3)
    assert views.open_picture(path, Fit(shortest=224)).pixels.shape == (336, 224, 3)


@pytest.mark.filterwarnings("ignore:Image size")
def test_what_is_no_image_or_a_bomb_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**26 + 2**24)  # Pillow's own limit; the server lowers it
    text = tmp_path / "text.jpg"
    text.write_text("no image at all")
    with pytest.raises(DataError, match=r"is no image file, or a broken one; replace it$"):
        views.open_picture(text)
    with pytest.raises(DataError, match=r"pixels; make it smaller$"):
        views.open_picture(bomb(tmp_path / "bomb.png", 50_000))
    with pytest.raises(DataError, match=r"has 100,000,000 pixels; expected at most 64,000,000"):
        views.open_picture(bomb(tmp_path / "large.png", 10_000))


def bomb(path: Path, side: int) -> Path:
    """A grey PNG of one colour: of 50,000 x 50,000 pixels it has 300 kB on disk and 2.5 GB in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, line = zlib.compressobj(1), bytes(1 + side // 8)  # one bit a pixel
    packed = b"".join(packer.compress(line * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    return path


def test_methods_that_a_network_has_no_maps_of_are_not_offered(pixels: np.ndarray) -> None:
    """An FCN's classifier has hidden layers, and no attention matrices; every other method draws a map of its own."""
    network = narrow()
    methods = views.usable_methods(network)
    assert set(get_args(Method)) - set(methods) == {"cam", "rollout", "gradient_rollout"}
    maps = [views.look(network, pixels, 0, method, exclusive=False)[1].attention for method in methods]
    assert all(found.any() for found in maps) and network.attention == "grad_cam"
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(maps, 2))
