"""Threads of numeric libraries."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP at one thread: a sum split over threads rounds differently."""
    with _controller(len(sys.modules)).limit(limits=1):
        yield


@functools.lru_cache(maxsize=1)
def _controller(_modules: int) -> ThreadpoolController:
    """Find the libraries of this process; only an import brings new ones, and the search costs milliseconds."""
    return ThreadpoolController()
