"""Paired augmentation: whatever moves the image moves its mask, and a key decides everything."""

from typing import NamedTuple

import kornia.enhance
import kornia.geometry.transform
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from wheretolook.data.keys import generator
from wheretolook.options.data import DataOptions
from wheretolook.records import TORCHVISION, VOID, Sample, shows_object, side_lengths


class Window(NamedTuple):
    """A part of an image; it may reach over the image's edges."""

    top: int
    left: int
    height: int
    width: int


def augment(sample: Sample, config: DataOptions, seed: int, epoch: int, index: int) -> Sample:
    """Change a training sample at random: colours, scale and crop, mirror image.

    The key alone decides, so neither workers nor the order of images nor global random state matter.

    Args:
        sample: any sample.
        config: `crop`, `scale` (used with a crop only), `flip` and `colour`.
        seed: part of the key.
        epoch: part of the key.
        index: part of the key: the image's number in its data set.

    Returns:
        The sample, of the size of the crop where there is one. What lies outside of the image is void in mask and
        targets and of the mean colour in the image. Classes that the crop cuts off leave the labels; what an image's
        labels say without a mask or box to show it stays, and so does what is only marked by a point or a stroke.

    Example:
        >>> planes = torch.zeros(0, 8, 8, dtype=torch.uint8)
        >>> plain = Sample(torch.rand(3, 8, 8), torch.zeros(8, 8).long(), torch.zeros(1).bool(), planes, True, "a")
        >>> augment(plain, DataOptions(crop=(4, 6)), seed=0, epoch=0, index=0).image.shape
        torch.Size([3, 4, 6])
    """
    random = generator("augmentation", seed, epoch, index)
    height, width = sample.mask.shape
    size, window = (height, width), Window(0, 0, height, width)
    if config.crop is not None:
        size, window = config.crop, draw_window(size, config.crop, config.scale, random)
    image, planes = cut(sample.image, torch.cat([sample.mask[None], sample.targets.long()]), window)
    image, planes = frame(jitter_colours(image, config.colour, random), planes, window, size)
    if config.flip and random.random() < 0.5:
        image, planes = (kornia.geometry.transform.hflip(plane) for plane in (image, planes))
    targets = planes[1:].to(torch.uint8)
    # an image of exactly one class keeps it, though its object is cut off: what else would it be taught to be?
    # and where a point or a stroke is cut off, the object may still be there
    marked = (sample.targets == VOID).float().mean(dim=(1, 2)) > 0.5
    kept = ~(shows_object(sample.targets) & ~shows_object(targets)) | marked | sample.exclusive
    labels = sample.labels.clone()
    labels[sample.labels] = kept
    return sample._replace(image=image, mask=planes[0], labels=labels, targets=targets[kept], zone=None)


def jitter_colours(
    image: Float[Tensor, "3 height width"], strength: float, random: np.random.Generator
) -> Float[Tensor, "3 height width"]:
    """Change brightness, contrast and saturation by random amounts.

    Args:
        image: RGB in [0, 1].
        strength: brightness moves by up to half of it, contrast and saturation change by a factor of 1 up to plus or
            minus this.
        random: where the amounts come from.

    Returns:
        The image, in [0, 1].
    """
    if strength == 0:
        return image
    brightness, contrast, saturation = random.uniform(-strength, strength, 3).tolist()
    image = kornia.enhance.adjust_brightness(image, brightness / 2)
    image = kornia.enhance.adjust_contrast_with_mean_subtraction(image, 1 + contrast)
    return kornia.enhance.adjust_saturation_with_gray_subtraction(image, 1 + saturation)


def draw_window(
    size: tuple[int, int], crop: tuple[int, int], scale: tuple[float, float], random: np.random.Generator
) -> Window:
    """The part of an image that becomes a crop when the image is resized by a random factor.

    Args:
        size: height and width of the image.
        crop: height and width of the crop.
        scale: smallest and largest factor.
        random: where factor and position come from.

    Returns:
        The window; inside the image along each side that is long enough, round the whole of it along the others.
    """
    factor = random.uniform(*scale)
    height, width = (max(1, round(side / factor)) for side in crop)
    top, left = (
        int(random.integers(min(0, room), max(0, room), endpoint=True)) for room in (size[0] - height, size[1] - width)
    )
    return Window(top, left, height, width)


def cut(
    image: Float[Tensor, "3 height width"], planes: Int[Tensor, "planes height width"], window: Window
) -> tuple[Float[Tensor, "3 h w"], Int[Tensor, "planes h w"]]:
    """The part of image and masks that lies in a window.

    Args:
        image: RGB in [0, 1].
        planes: index mask and targets.
        window: where to cut; what it reaches of the outside is left out.
    """
    rows = slice(max(0, window.top), window.top + window.height)
    columns = slice(max(0, window.left), window.left + window.width)
    return image[:, rows, columns], planes[:, rows, columns]


def frame(
    image: Float[Tensor, "3 h w"], planes: Int[Tensor, "planes h w"], window: Window, size: tuple[int, int]
) -> tuple[Float[Tensor, "3 height width"], Int[Tensor, "planes height width"]]:
    """Fill up to a window what was cut along it, and resize that.

    Args:
        image: what `cut` gave, RGB in [0, 1].
        planes: what `cut` gave.
        window: where it was cut.
        size: height and width of the result.

    Returns:
        Image (bilinear) and planes (nearest neighbour), filled with the mean colour and with void.
    """
    above, left = max(0, -window.top), max(0, -window.left)
    height, width = side_lengths(planes)
    margins = left, window.width - left - width, above, window.height - above - height
    # Padded by hand: kornia's own padding is 0, and in a mask 0 says that background was seen.
    levels = zip(image, TORCHVISION.mean, strict=True)
    image = torch.stack([pad(plane, margins, value=level) for plane, level in levels])
    planes = pad(planes, margins, value=VOID)
    if side_lengths(planes) == size:
        return image, planes
    resize = kornia.geometry.transform.resize
    return resize(image, size, antialias=True), resize(planes.float(), size, "nearest-exact").long()
