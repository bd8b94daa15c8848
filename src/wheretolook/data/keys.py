"""Random numbers that depend on what they are for, and on nothing else: not on order, workers or global state."""

from zlib import crc32

import numpy as np


def generator(purpose: str, *key: int) -> np.random.Generator:
    """The random generator of one purpose and key, for example of one image in one epoch.

    Args:
        purpose: what the numbers are for; the same key gives other numbers for another purpose.
        key: whole numbers, for example seed, epoch and index.

    Example:
        >>> bool(generator("order", 0, 1).random() == generator("order", 0, 1).random())
        True
        >>> bool(generator("order", 0, 1).random() == generator("order", 0, 1, 0).random())
        False
    """
    words = (part & 0xFFFFFFFFFFFFFFFF for part in key)  # a negative seed is a seed like any other
    # The length goes in because a SeedSequence is blind to trailing zeros.
    return np.random.default_rng(np.random.SeedSequence((crc32(purpose.encode()), len(key), *words)))
