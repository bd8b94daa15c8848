import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from wheretolook.errors import DataError
from wheretolook.metrics.figures import FIGURES
from wheretolook.report.curves import _apart, _limits, loss_curves, read_history, smoothed, summary_picture
from wheretolook.report.style import series_colour

from .seen import places_of


def test_smoothing_is_the_weighted_mean_of_all_that_came() -> None:
    values, span = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0], 4
    decay = 3 / 5
    for step, average in enumerate(smoothed(values, span)):
        weights = np.array([decay ** (step - earlier) for earlier in range(step + 1)])
        assert average == pytest.approx(np.average(values[: step + 1], weights=weights), abs=1e-12)


def test_smoothing_keeps_constants_and_answers_a_step_in_closed_form() -> None:
    assert smoothed([2.5] * 7, 5) == pytest.approx([2.5] * 7)
    assert smoothed([1.0, 5.0, 2.0], 1) == [1.0, 5.0, 2.0]
    decay, zeros, ones = (9 - 1) / (9 + 1), 30, 6
    after = smoothed([0.0] * zeros + [1.0] * ones, 9)[zeros:]
    expected = [(1 - decay**n) / (1 - decay ** (zeros + n)) for n in range(1, ones + 1)]
    assert after == pytest.approx(expected)


def test_labels_move_as_little_as_isotonic_regression_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        places, gap = rng.uniform(0, 30, 8), 6.0
        order = np.argsort(places)
        expected = isotonic_regression(places[order] - gap * np.arange(8)).x + gap * np.arange(8)
        moved = np.array(_apart(places.tolist(), gap))
        np.testing.assert_allclose(moved[order], expected, atol=1e-9)
        assert (np.diff(moved[order]) >= gap - 1e-9).all()


def test_a_lone_spike_leaves_and_negative_losses_stay() -> None:
    assert _limits([1.0] * 999 + [1e6], [1.0]) == pytest.approx((0, 1.08))
    assert _limits([-2.0, -1.0], [-2.0, -1.5]) == pytest.approx((-2.16, 0))


def test_history_round_trip(tmp_path: Path) -> None:
    history = [
        {"step": 0.0, "train/total": 1.5},
        {"step": 0.0, "val/mean_iu": 0.1},
        {"step": 10.0, "train/total": 1e-7},
    ]
    with (tmp_path / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/total", "val/mean_iu"])
        writer.writeheader()
        writer.writerows(history)
    assert read_history(tmp_path / "history.csv") == history


def test_history_keeps_what_diverged(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("step,train/total\n3,nan\n")
    (row,) = read_history(tmp_path / "history.csv")
    assert row["step"] == 3 and math.isnan(row["train/total"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first column is step, got nothing"),
        ("loss,step\n1,2\n", "first column is step, got loss,step"),
        ("step,a\n1,2\n2\n", "line 3: expected 2 cells and a step, got 1 cells"),
        ("step,a\n,2\n", "line 2: .* got no step"),
        ("step,a\n1,2\n\n", "line 3: .* got no step"),
        ("step,a\n1,much\n", "line 2: .*much"),
    ],
)
def test_a_broken_history_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(DataError, match=rf"history\.csv.*{message}"):
        read_history(tmp_path / "history.csv")


def test_a_missing_or_binary_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        read_history(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"step\xff\xfe\n")
    with pytest.raises(DataError, match=r"binary\.csv is not a text file"):
        read_history(tmp_path / "binary.csv")


def test_validation_is_drawn_in_percent(tmp_path: Path) -> None:
    """Panel of 0 to 100 %, from 1.05 to 3.60 inches below the top: a quarter lies three quarters down."""
    loss_curves([{"step": step, "val/mean_iu": 0.25} for step in (0.0, 5.0, 10.0)], tmp_path / "a.png", title="")
    rows, columns = places_of(tmp_path / "a.png", FIGURES["mean_iu"].colour)
    line = rows[(columns > 0.6) & (columns < 4.0)]
    assert line.mean() == pytest.approx(1.05 + 0.75 * 2.55, abs=0.01)


def test_a_loss_that_is_off_has_no_panel_and_nan_no_point(tmp_path: Path) -> None:
    rows = [{"step": float(step), "train/total": 1.0, "train/mining": 2.0} for step in range(50)]
    loss_curves(rows, tmp_path / "two.png", title="")
    off = [{**row, "train/external": 0.0, "train/segmentation": math.nan} for row in rows]
    loss_curves(off, tmp_path / "off.png", title="")
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "off.png").read_bytes()
    for loss in ("classification", "external", "segmentation"):  # the predecessor forgot the last
        loss_curves([{**row, f"train/{loss}": 0.1} for row in rows], tmp_path / "on.png", title="")
        assert (tmp_path / "two.png").read_bytes() != (tmp_path / "on.png").read_bytes(), loss


def test_the_dots_of_the_summary_lie_where_their_figures_do(tmp_path: Path) -> None:
    """Axis from 1.35 to 4.75 inches; a dot's rightmost pixel is its figure and the dot's radius further."""
    shares, radius = (0.2, 0.5, 0.8), 2.5 / 72
    names = ("Original", "Control", "Guided")
    rows = [
        {"weights": name, "mean_iu": share, "mean_average_precision": math.nan}
        for name, share in zip(names, shares, strict=True)
    ]
    summary_picture(rows, tmp_path / "summary.png")
    for position, share in enumerate(shares):
        _, columns = places_of(tmp_path / "summary.png", series_colour(position))
        rightmost = columns[columns < 4.9].max()
        assert rightmost == pytest.approx(1.35 + 3.4 * share + radius, abs=0.015)


def test_long_names_above_the_numbers_keep_apart(tmp_path: Path) -> None:
    """No letter of one name lies left of the right end of the name before it."""
    names = ["Original", "Control", "Control + classification", "Guided"]
    rows = [{"weights": name, "mean_iu": 0.5} for name in names]
    summary_picture(rows, tmp_path / "summary.png")
    ends = []
    for position in range(len(rows)):
        lines, columns = places_of(tmp_path / "summary.png", series_colour(position))
        letters = columns[(lines < 0.55) & (columns > 4.9)]
        ends.append((letters.min(), letters.max()))
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(ends))
