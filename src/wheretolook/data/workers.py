"""How batches come from the processes that load them: through shared memory, or through pipes where it is small.

A container has 64 MB of shared memory unless it is told otherwise. A worker that finds it full in the thread that
sends its batch leaves the training waiting for ever; so each batch is put there before it is sent, where an error is
passed on.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wheretolook.data.names import say_once
from wheretolook.errors import DataError
from wheretolook.records import Batch, Sample

SHARED_MEMORY = "/dev/shm"
WAITING = 2  # batches that each worker has ready, torch's prefetch_factor
PIXEL = 3 * 4 + 8  # bytes of an image's and a mask's pixel
PLANES = 8  # about as many classes as an image shows at most
FULL = "the shared memory of this machine (/dev/shm) is full"
REMEDY = "give it more (docker: --shm-size), or load with fewer workers (data.workers 0: none)"

Collate = Callable[[Sequence[Sample]], Batch]


def batch_bytes(size: tuple[int, int], images: int, classes: int) -> int:
    """About how many bytes a batch has.

    Args:
        size: height and width of its images.
        images: how many.
        classes: how many foreground classes the data have.
    """
    return size[0] * size[1] * (PIXEL + min(classes, PLANES)) * images


def free_shared_memory() -> int | None:
    """Bytes that are free in shared memory; None where it is no file system of its own."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):  # macOS, Windows
        return None
    return found.f_bavail * found.f_frsize


def fits_shared_memory(largest: int, workers: int) -> bool:
    """Whether all batches that can be on their way fit; says so where they do not.

    Args:
        largest: bytes of a batch.
        workers: processes that load.
    """
    free, needed = free_shared_memory(), largest * (workers * WAITING + 1)
    if free is None or 2 * needed <= free:  # others use it as well
        return True
    say_once(
        f"{SHARED_MEMORY} has {free / 2**20:.0f} MB free, and batches of {workers} workers may need"
        f" {needed / 2**20:.0f} MB: they come through pipes, which is a little slower"
    )
    return False


def shared(collate: Collate, samples: Sequence[Sample]) -> Batch:
    """Stack samples into shared memory.

    Args:
        collate: stacks them.
        samples: the batch.

    Raises:
        DataError: there is no room for them.
    """
    batch = collate(samples)
    try:
        for value in batch:
            if isinstance(value, Tensor):
                value.share_memory_()
    except (RuntimeError, OSError) as error:
        raise DataError(f"{FULL}; {REMEDY}") from error
    return batch


def packed(collate: Collate, samples: Sequence[Sample]) -> tuple[Any, ...]:
    """Stack samples into arrays, which are sent through a pipe as they are.

    Args:
        collate: stacks them.
        samples: the batch.
    """
    return tuple(value.numpy() if isinstance(value, Tensor) else value for value in collate(samples))


def unpacked(values: Sequence[Any]) -> Batch:
    """The batch that `packed` has packed.

    Args:
        values: what came through the pipe.
    """
    return Batch._make(torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values)


def is_death(error: RuntimeError) -> bool:
    """Whether an error is torch's word for a worker that is gone.

    Args:
        error: what the loader raised.
    """
    return str(error).startswith("DataLoader worker (pid")


def end_workers(batches: object) -> None:
    """End all workers: until then, torch's handler of signals raises a death wherever the program happens to be.

    Args:
        batches: the loader's iterator.
    """
    with suppress(RuntimeError):
        batches._shutdown_workers()  # type: ignore[attr-defined]


def worker_died(error: Exception) -> DataError:
    """What to say where a process that loads images is gone.

    Args:
        error: what the loader raised.
    """
    words = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
    return DataError(f"a process that loads images has ended ({words}): out of memory, or of shared memory; {REMEDY}")
