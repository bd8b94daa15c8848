import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from wheretolook.metrics.figures import FIGURES
from wheretolook.records import VOID
from wheretolook.report.paint import grey, overlay, painted, paled, shared_scale
from wheretolook.report.style import CLASS_COLOURS, VOID_COLOUR, class_colour, series_colour

INFERNO = np.array(colormaps["inferno"].colors)  # 256 steps, dark to light


def test_grey_is_as_bright_as_the_colour_looks() -> None:
    image = torch.zeros(3, 1, 4)
    image[:, 0] = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(
        grey(image)[0], np.array([[0.299], [0.587], [0.114], [1.0]]).repeat(3, axis=1), atol=1e-7
    )


def test_overlay_is_the_ground_at_zero_the_top_colour_at_one_and_half_of_each_at_a_half() -> None:
    ground = np.random.default_rng(0).random((1, 3, 3))
    drawn = overlay(ground, np.array([[0.0, 1.0, 0.5]]))
    np.testing.assert_array_equal(drawn[0, 0], ground[0, 0])
    np.testing.assert_allclose(drawn[0, 1], INFERNO[255])
    np.testing.assert_allclose(drawn[0, 2], (ground[0, 2] + INFERNO[128]) / 2)


def test_both_maps_share_the_larger_maximum() -> None:
    strong = torch.tensor([[0.0, 4.0], [8.0, 2.0]])
    for before, after in ((strong, strong / 2), (strong / 2, strong)):
        first, second = shared_scale(before, after)
        np.testing.assert_array_equal(first, (before / 8).numpy())
        np.testing.assert_array_equal(second, (after / 8).numpy())


def test_empty_maps_stay_empty() -> None:
    empty = torch.zeros(2, 3)
    assert [values.tolist() for values in shared_scale(empty, empty)] == [empty.tolist()] * 2
    assert shared_scale(empty, empty + 5)[1].tolist() == [[1.0] * 3] * 2


def test_maps_of_any_precision_and_graph_can_be_drawn() -> None:
    attention = torch.tensor([[1.0, 2.0]], requires_grad=True)
    for values in (attention, attention.bfloat16(), attention.half()):
        assert shared_scale(values, values)[0].tolist() == [[0.5, 1.0]]


def test_masks_have_their_classes_colours_and_void_is_striped() -> None:
    mask = torch.tensor([[0, 1, 2, 20] + [VOID] * 4])
    ground = np.full((1, 8, 3), 0.4)
    drawn = painted(ground, mask, mask == VOID)[0]
    np.testing.assert_allclose(drawn[0], paled(ground, 0.35)[0, 0])
    assert drawn[0] == pytest.approx(np.full(3, 1 - 0.35 * 0.6))
    for column, class_index in ((1, 0), (2, 1), (3, 19)):
        np.testing.assert_allclose(drawn[column], 0.15 * 0.4 + 0.85 * np.array(to_rgb(CLASS_COLOURS[class_index])))
    stripe = (drawn[4:] == to_rgb(VOID_COLOUR)).all(axis=1)
    assert stripe.tolist() in ([True, False] * 2, [False, True] * 2)
    np.testing.assert_allclose(ground, 0.4)  # the caller's picture is left alone


def test_no_two_classes_rows_or_figures_share_a_colour() -> None:
    assert len({class_colour(index) for index in range(200)}) == 200
    assert len({series_colour(position) for position in range(50)}) == 50
    drawn = [figure.colour for figure in FIGURES.values() if figure.unit == "share"]
    assert len(set(drawn)) == len(drawn) and all(drawn)
    assert distances(drawn).min() > 15  # 2.3 is a difference that can just be seen


def distances(colours: list[str], receptors: list[list[float]] | None = None) -> np.ndarray:
    """Of every two colours in CIE Lab, as eyes with all receptors see them, or with a matrix that takes some away."""
    values = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = linear if receptors is None else np.clip(linear @ np.transpose(receptors), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = seen @ to_xyz.T / to_xyz.sum(axis=1)
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    lab = np.stack([116 * cube[:, 1] - 16, 500 * (cube[:, 0] - cube[:, 1]), 200 * (cube[:, 1] - cube[:, 2])], axis=1)
    return np.linalg.norm(lab[:, None] - lab[None], axis=2)[np.triu_indices(len(colours), 1)]


def test_the_first_classes_are_told_apart_by_colour_blind_eyes() -> None:
    """Distances in CIE Lab after Machado et al. 2009's matrices for no red, and no green, receptors."""
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    for matrix in blind.values():
        assert distances([class_colour(index) for index in range(8)], matrix).min() > 12
