"""What the contact sheet of annotations shows, pixel by pixel."""

import numpy as np
import torch
from matplotlib.colors import to_rgb

from wheretolook.records import VOID, Sample
from wheretolook.report.annotations import annotated_picture
from wheretolook.report.style import class_colour


def sample(planes: list, segmented: bool = True, boxed: bool = True) -> Sample:
    """A lemon-coloured image of 4x6 pixels that shows classes 0 and 2."""
    image = torch.tensor([0.9, 0.85, 0.1])[:, None, None].expand(3, 4, 6)
    targets = torch.tensor(planes, dtype=torch.uint8)
    mask = torch.zeros(4, 6, dtype=torch.int64)
    for plane, value in zip(targets, (1, 3), strict=True):
        mask[plane == 1] = value
    mask[(targets == VOID).any(dim=0)] = VOID
    mask = mask if boxed else torch.full_like(mask, VOID)
    return Sample(image, mask, torch.tensor([True, False, True]), targets, segmented, "a")


def test_objects_are_tinted_and_everything_else_is_grey_or_void():
    planes = torch.zeros(2, 4, 6)
    planes[0, 0, :2], planes[1, 1, 3:] = 1, 1
    planes[:, 3] = VOID
    drawn = annotated_picture(sample(planes.tolist()))
    spread = drawn.max(axis=2) - drawn.min(axis=2)
    coloured = {(row, column) for row, column in np.argwhere(spread > 0.05).tolist()}
    assert coloured == {(0, 0), (0, 1), (1, 3), (1, 4), (1, 5)}
    for place, index in (((0, 0), 0), ((1, 4), 2)):
        distances = [np.abs(drawn[place] - to_rgb(class_colour(other))).sum() for other in range(3)]
        assert int(np.argmin(distances)) == index
    assert (drawn[3] == 1).all() and drawn[2].std() == 0


def test_zones_are_black_and_what_nobody_drew_keeps_its_colours():
    planes = torch.ones(2, 4, 6)
    planes[:, 0, :3] = 0
    drawn = annotated_picture(sample(planes.tolist(), segmented=False, boxed=False))
    assert (drawn[0, :3] == 0).all() and drawn[1:].min() > 0.3
    plain = annotated_picture(sample(torch.full((2, 4, 6), VOID).tolist(), segmented=False, boxed=False))
    np.testing.assert_allclose(plain, np.broadcast_to([0.9, 0.85, 0.1], (4, 6, 3)), atol=1e-6)


def test_a_box_of_nearly_the_whole_image_is_an_object_and_no_zone():
    planes = torch.zeros(2, 4, 6)
    planes[0, :, 1:], planes[1, 0, 0] = 1, 1
    drawn = annotated_picture(sample(planes.tolist(), segmented=False))
    assert drawn.min() > 0.1 and np.ptp(drawn, axis=2)[:, 1:].min() > 0.05 and np.ptp(drawn, axis=2)[1:, 0].max() < 0.01


def test_marks_are_drawn_in_their_colours_and_black_on_an_image_that_stays_to_be_seen():
    planes = torch.full((2, 4, 6), VOID)
    planes[:, 0, 0], planes[:, 3, 5] = 0, 0
    planes[0, 3, 5] = planes[1, 0, 1] = 1
    planes[0, 0, 1] = 0
    drawn = annotated_picture(sample(planes.tolist()))
    assert (drawn[0, 0] == 0).all() and drawn[1:3].min() > 0.3 and drawn[1:3].max() < 1
    coloured = np.argwhere(np.ptp(drawn, axis=2) > 0.05).tolist()
    assert coloured == [[0, 1], [3, 5]]
