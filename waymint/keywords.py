"""Keywords that the functions of the package share, declared once and shown by each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar

from waymint.composing import SpecLike

P = ParamSpec("P")
R = TypeVar("R")


class Keywords(TypedDict, total=False):
    """What a flow takes beside its data; :func:`waymint.release` describes each."""

    treatment: str | None
    outcome: str | None
    name: str | None
    store: str | Path | None
    spec: SpecLike | None
    settings: Mapping[str, Any] | None
    progress: bool


#: What is taken where a keyword is left out; None for all others.
DEFAULTS: Mapping[str, Any] = {"progress": True}


def spelled_out(function: Callable[P, R]) -> Callable[P, R]:
    """Give a function the signature that names each keyword, for ``help`` and for the completion of a notebook.

    A keyword that is none is a TypeError that names the function, as Python has it.
    """
    whole = inspect.signature(function)
    first = [each for each in whole.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name), annotation=annotation)
        for name, annotation in Keywords.__annotations__.items()
    ]
    signature = whole.replace(parameters=[*first, *named])

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}") from None
        return function(*args, **kwargs)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked
