"""Machine code for loops that NumPy has no name for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any] | None = None, *, reorder: bool = False, inline: bool = False) -> Any:
    """Compile a function on its first call and keep the machine code on disk, where some folder can be written.

    NaN marks missing cells, so the flags that assume there are none stay off. Every flag is set: Numba compiles a function with the
    flags of its first caller where they are not, and a fused multiply-add changes the last bit.

    Parameters
    ----------
    function : callable, optional
        What is compiled; left out where options are given.
    reorder : bool
        Whether sums may be reordered and multiply-adds fused. Results then depend on the processor: for bounds with slack only.
    inline : bool
        Whether the code is pasted into its callers, for loops so hot that a call costs as much as the work.

    Returns
    -------
    callable
        The compiled function, or a decorator.
    """
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "inline": "always" if inline else "never",
        "fastmath": {"reassoc", "nsz", "contract"} if reorder else False,
    }

    def wrap(plain: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(plain)
        except RuntimeError:  # Numba found neither the package folder nor the user's cache writable
            return numba.njit(**options)(plain)

    return wrap if function is None else wrap(function)
