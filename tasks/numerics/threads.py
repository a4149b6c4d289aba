"""Threads of numeric libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP at one thread: a sum split over threads rounds differently."""
    with threadpool_limits(limits=1):
        yield
