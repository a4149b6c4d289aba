"""Errors survive pickling, tell their exit code and print one grammar."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from tasks.contract import errors
from tasks.contract.errors import WaymintError


def tree(root: type[WaymintError]) -> Iterator[type[WaymintError]]:
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


KINDS = [kind for kind in tree(WaymintError) if kind.__module__ == errors.__name__]
EXIT_CODES = {"WaymintError": 1, "SpecError": 2, "GateFailed": 3, "InfrastructureError": 6, "SourceError": 4, "EstimationError": 4}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[WaymintError]) -> None:
    error = kind("rows of SPEC must be positive; got 0.", "Ask for one.")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.message, back.hint, back.exit_code, back.retryable) == (error.message, error.hint, error.exit_code, error.retryable)
    assert str(back) == "rows of SPEC must be positive; got 0. Ask for one."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exit_codes_are_those_of_the_interface(kind: type[WaymintError]) -> None:
    assert kind.exit_code == EXIT_CODES.get(kind.__name__, 5)


def test_only_passing_faults_are_tried_again() -> None:
    assert [kind.__name__ for kind in KINDS if kind.retryable] == ["StoreUnavailable"]


def test_the_reply_has_the_four_fields() -> None:
    assert errors.StoreMissing("a", "b").as_dict() == {"status": "error", "code": 5, "error": "a", "hint": "b"}
    assert str(errors.SourceError("without a hint.")) == "without a hint."
