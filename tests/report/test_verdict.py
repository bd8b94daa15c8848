"""The verdict claims what is larger than its spread, of the closest control, and nothing else."""

import pytest

from wheretolook.report.verdict import verdict


def rows(**figures: dict[str, tuple[float, ...]]) -> list[dict[str, object]]:
    """The rows of each name: a figure's value for each seed."""
    return [
        {"weights": name, "seed": seed, **{key: values[seed] for key, values in named.items()}}
        for name, named in figures.items()
        for seed in range(len(next(iter(named.values()))))
    ]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ((0.40, 0.50, 0.60), "Guidance helps: "),
        ((0.30, 0.20, 0.10), "Guidance hurts: "),
        ((0.45, 0.40, 0.50), "Guidance helps: "),
        ((0.60, 0.36, 0.30), "Guidance makes no difference that can be told from chance: "),
        ((0.40, 0.50), "Too few seeds to tell from chance, give seeds 3: "),
    ],
)
def test_what_is_claimed(after: tuple[float, ...], said: str):
    """Beside 0.38 in every seed: the mean change against its standard deviation, by hand."""
    given = rows(Control={"mean_iu": (0.38, 0.38, 0.38)}, Guided={"mean_iu": after})
    mean = sum(after) / len(after) - 0.38
    spread = (sum((value - 0.38 - mean) ** 2 for value in after) / (len(after) - 1)) ** 0.5
    found = str(verdict(given))
    assert found.startswith(said)
    assert f"({100 * mean:+.1f} ± {100 * spread:.1f} over {len(after)} seeds)" in found


def test_it_is_the_closest_control_and_the_first_figure_that_was_asked_for():
    other = {"worst_group_accuracy": (0.9, 0.9, 0.9), "mean_iu": (0.1, 0.1, 0.1), "energy_pointing": (0.5, 0.5, 0.5)}
    close = {"worst_group_accuracy": (0.2, 0.2, 0.2), "mean_iu": (0.9, 0.9, 0.9), "energy_pointing": (0.2, 0.2, 0.3)}
    guided = {"worst_group_accuracy": (0.3, 0.3, 0.3), "mean_iu": (0.2, 0.2, 0.2), "energy_pointing": (0.6, 0.6, 0.7)}
    found = verdict(rows(Control=other, Closest=close, Guided=guided))
    assert str(found) == (
        "Guidance helps, and attention moves onto the objects: "
        "Worst group 30.0 in place of 20.0 (+10.0 ± 0.0 over 3 seeds) beside 'Closest'; "
        "Energy pointing 63.3 in place of 23.3 (+40.0 ± 0.0 over 3 seeds)."
    )
    marks = {"Closest": 0.4, "Guided": 0.1}
    marked = [{**row, "energy_on_mark": marks[row["weights"]]} for row in rows(Closest=close, Guided=guided)]
    assert str(verdict(marked)).endswith("; Energy on mark 10.0 in place of 40.0 (-30.0 ± 0.0 over 3 seeds).")
    unmeasured = [{**row, "worst_group_accuracy": None} for row in rows(Closest=close, Guided=guided)]
    assert str(verdict(unmeasured)).startswith(
        "Guidance hurts, though attention moves onto the objects: Mean IU 20.0 in place of 90.0"
    )


def test_seeds_are_paired_and_nothing_to_compare_is_silent():
    before, after = {"mean_iu": (0.1, 0.5, 0.9)}, {"mean_iu": (0.2, 0.6, 1.0)}
    given = rows(Control=before, Guided=after)
    assert "± 0.0 over 3 seeds" in str(verdict(given)) and verdict(given) == verdict(given[::-1][3:] + given[::-1][:3])
    assert verdict(rows(Guided=after)) is None is verdict(rows(Control={"f1": (0.1,)}, Guided={"f1": (0.2,)}))


BETTER, SAME, WORSE = (0.5, 0.6, 0.7), (0.3, 0.5, 0.4), (0.1, 0.0, 0.1)
HELPS, HURTS = "Guidance helps", "Guidance hurts"
ONTO, LEAVES = "ttention moves onto the objects", "ttention leaves the objects"
OPEN = "no difference in Worst class can be told from chance"


@pytest.mark.parametrize(
    ("right", "looks", "said", "tone"),
    [
        (BETTER, BETTER, f"{HELPS}, and a{ONTO}", "good"),
        (BETTER, SAME, HELPS, "good"),
        (BETTER, WORSE, f"{HELPS}, though a{LEAVES}", "unclear"),
        (SAME, BETTER, f"A{ONTO}, and {OPEN}", "good"),
        (SAME, SAME, "Guidance makes no difference that can be told from chance", "unclear"),
        (SAME, WORSE, f"A{LEAVES}, and {OPEN}", "bad"),
        (WORSE, BETTER, f"{HURTS}, though a{ONTO}", "bad"),
        (WORSE, SAME, HURTS, "bad"),
        (WORSE, WORSE, f"{HURTS}, and a{LEAVES}", "bad"),
    ],
)
def test_attention_has_its_part_in_the_answer(right: tuple[float, ...], looks: tuple[float, ...], said: str, tone: str):
    """Beside 0.4 in every seed; a figure of attention of which less is better says the opposite."""
    level = (0.4, 0.4, 0.4)
    for key, values in (("energy_pointing", looks), ("energy_on_mark", tuple(0.8 - value for value in looks))):
        found = verdict(
            rows(
                Control={"worst_class_accuracy": level, key: level}, Guided={"worst_class_accuracy": right, key: values}
            )
        )
        assert found is not None and (found.answer, found.tone) == (said, tone)


def test_a_fall_that_rounds_to_nothing_has_no_sign_of_a_fall():
    found = verdict(rows(Control={"mean_iu": (0.5, 0.5)}, Guided={"mean_iu": (0.4999, 0.4999)}))
    assert "Mean IU 50.0 in place of 50.0 (+0.0 ± 0.0" in str(found)
