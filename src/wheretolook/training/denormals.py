"""Denormal numbers, which some processors take a dozen times longer over, are zero while a stage runs on a CPU.

Saturated scores have gradients too small for a normal number; a step of guidance with them was seen to take 60 s, and
4.4 s once they were taken for zero.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

HARD = 2  # omp_pause_hard: the threads end, and the next parallel work starts others
OPENMP = re.compile(r"/lib(gomp|omp|iomp5)[^/]*$")


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers are taken for zero, by every thread that computes; afterwards as before, after an error too.

    The processor's switch is a thread's own, and a new thread inherits it from the one that starts it. Threads of
    OpenMP that have computed already are therefore ended on the way in and out; the next computation starts others.
    """
    before = flushes_denormals()
    try:
        _switch(True)
        yield
    finally:
        _switch(before)


def flushes_denormals() -> bool:
    """Whether this thread takes denormal numbers for zero now."""
    tiny = torch.tensor(2.0**-140)
    return not (tiny * 0.5).view(torch.int32).any().item()


def _switch(flush: bool) -> None:
    torch.set_flush_denormal(flush)  # false where the processor has no such switch
    for path in _openmp_libraries():
        pause = getattr(ctypes.CDLL(path), "omp_pause_resource_all", None)
        if pause is not None:
            pause(HARD)


def _openmp_libraries() -> set[str]:
    """The OpenMP libraries that this process has loaded; none where the system does not list them."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return set()
    return {line.split(maxsplit=5)[5] for line in lines if OPENMP.search(line)}
