"""What exists once: compiled code, quantiles of the normal law, lists of estimators, cross-fitting."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from tests.architecture.test_source import FILES, name_of


def compiles(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in ("njit", "jit")) or (
        isinstance(node, ast.FunctionDef) and node.name == "compiled"
    )


def quantile_by_hand(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return 1.955 < abs(node.value) < 1.965
    return (isinstance(node, ast.Name) and node.id == "NormalDist") or (
        isinstance(node, ast.Attribute) and node.attr == "ppf" and isinstance(node.value, ast.Attribute) and node.value.attr == "norm"
    )


def lists_estimators(node: ast.AST) -> bool:
    if not isinstance(node, ast.Tuple | ast.List):
        return False
    texts = [part.value for part in node.elts if isinstance(part, ast.Constant)]
    return texts[:4] == ["or", "ipw", "aipw", "tmle"]


def cross_fits(node: ast.AST) -> bool:
    """A loop that assigns rows to folds is a cross-fitter's: one plan does."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "training_rows"


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        (compiles, {"tasks/numerics/compiled.py"}),
        (quantile_by_hand, {"tasks/numerics/normal.py"}),
        (lists_estimators, {"tasks/targeting/estimators.py"}),
        (cross_fits, {"tasks/nuisance/plan.py"}),
    ],
)
def test_it_is_in_its_place_and_nowhere_else(rule: Callable[[ast.AST], bool], places: set[str]) -> None:
    found = {name_of(path) for path in FILES for node in ast.walk(ast.parse(path.read_text())) if rule(node)}
    assert found == places
