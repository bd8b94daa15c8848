"""What a contact sheet writes below its pictures: names that are told apart."""

import pytest

from wheretolook.report.sheet import end_of

HASHES = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210")


@pytest.mark.parametrize("letters", [22, 30, 42])
@pytest.mark.parametrize(
    "written", ["train/cat_{}_jpg.rf.{}", "cat_{}_png.rf.{}", "photographs/cat_{}-{}", "cat_{}_jpg.rf.{}.jpg"]
)
def test_names_with_a_hash_behind_them_are_known_by_their_names(written, letters):
    """Roboflow's, and those of stores that name files by their contents; copies of one image stay two."""
    shown = {end_of(written.format(number, one), letters) for number in (7, 8) for one in HASHES}
    assert len(shown) == 4
    assert all(len(text) <= letters and ("cat_7" in text or "cat_8" in text) for text in shown)


def test_what_is_short_enough_or_a_hash_alone_is_left():
    assert end_of("a_jpg.rf.0123456789abcdef") == "a_jpg.rf.0123456789abcdef"
    assert end_of(HASHES[0], 12) == "\N{HORIZONTAL ELLIPSIS}56789abcdef"
    assert end_of("holiday/deadbeef-facade.jpg", 12) == "\N{HORIZONTAL ELLIPSIS}-facade.jpg"
