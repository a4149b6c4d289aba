"""Small mistakes in Python source: where one can be made, and the source with it."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

#: A comparison with its bound moved, and turned round.
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Add,
}  # fmt: skip


class Mutation(NamedTuple):
    """A change of some bytes of a source.

    Attributes
    ----------
    name : str
        Function, what stood there and what stands there instead; the second of two equal ones has ``(2)`` behind it.
    start, end : int
        The bytes that are replaced.
    text : str
        What replaces them.
    """

    name: str
    start: int
    end: int
    text: str

    def of(self, source: bytes) -> bytes:
        """Return the source with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutations(source: str) -> Iterator[Mutation]:
    """Yield all mutations of a module: none of annotations, decorators, texts, imports and what only type checkers read."""
    lines = [0]
    for line in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    names: Counter[str] = Counter()
    for place, node, changed in _changes(ast.parse(source), ""):
        start, end = lines[node.lineno - 1] + node.col_offset, lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        text = ast.unparse(ast.fix_missing_locations(changed))
        name = f"{place or 'module'}: {_short(ast.unparse(node))} -> {_short(text)}"
        names[name] += 1
        yield Mutation(
            name + (f" ({names[name]})" if names[name] > 1 else ""), start, end, f"({text})" if isinstance(node, ast.expr) else text
        )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:40]} … {line[-27:]}"


def _changes(node: ast.AST, place: str) -> Iterator[tuple[str, ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Yield place, node and what may stand in its stead, for a node and all below it."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        place = f"{place}.{node.name}" if place else node.name
    elif isinstance(node, ast.stmt):
        yield from ((place, node, changed) for changed in _statements(node))
        if isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.BoolOp):
            test = node.test
            yield place, test, test.operand if isinstance(test, ast.UnaryOp) else ast.UnaryOp(ast.Not(), copy.deepcopy(test))
    elif isinstance(node, ast.expr):
        yield from ((place, node, changed) for changed in _expressions(node))
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "bases", "keywords" if isinstance(node, ast.ClassDef) else "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changes(child, place)


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            yield ast.Pass()


def _expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=[sign, *more], comparators=bounds):
            yield from (ast.Compare(left, [other(), *more], bounds) for other in COMPARISONS[type(sign)])
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in ARITHMETIC and not _is_text(left) and not _is_text(right):
            yield ast.BinOp(left, ARITHMETIC[type(sign)](), right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand
        case ast.BoolOp(op=sign, values=values):
            yield ast.BoolOp(ast.And() if isinstance(sign, ast.Or) else ast.Or(), values)
        case ast.IfExp(test=test, body=body, orelse=other):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), copy.deepcopy(test)), body, other)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
