"""The small faults that are put into a module, one at a time: a comparison swapped, a constant changed and so on."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "ceil": "floor", "floor": "ceil"}
TEXT_METHODS = {"startswith", "endswith", "get", "removeprefix", "removesuffix", "partition", "rpartition", "split"}
NOT_MUTATED = {"annotation", "returns", "decorator_list", "format_spec", "ops", "ctx"}
"""Fields without behaviour of their own, and decorators, which would only be called wrongly."""
ONLY_WORDS = {"hint", "description", "title", "encoding", "strict"}
"""Arguments that hold words for people, and ``strict`` of zip, which is a check on the program itself."""
MOST_ELEMENTS = 4
"""From a longer list of constants only so many are removed, evenly spread, lest lists outweigh code."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in ``tree``, ``parent.field`` (or its element ``index``) is ``old`` and becomes ``new``."""

    line: int
    scope: str
    """The dotted names of the classes and functions around it; empty at the level of the module."""
    old: ast.AST
    new: ast.AST
    parent: ast.AST
    field: str
    index: int | None

    @property
    def change(self) -> str:
        """What changed, as ``old -> new`` on one line."""
        return f"{_source(self.old)} -> {_source(self.new)}"

    def source(self, tree: ast.Module) -> str:
        """The text of the mutated module; ``tree`` is as before afterwards."""
        self._put(self.new)
        try:
            return ast.unparse(ast.fix_missing_locations(tree))
        finally:
            self._put(self.old)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    yield from _below(tree, "")


def _below(parent: ast.AST, scope: str) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(parent):
        if field in NOT_MUTATED:
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_words(node):
                continue
            for new in _replacements(node, parent, field):
                line = getattr(node, "lineno", 1)
                yield Mutant(line, scope, node, new, parent, field, index)
            if not isinstance(node, ast.Raise):  # what it says is for people
                named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                yield from _below(node, f"{scope}.{node.name}".lstrip(".") if named else scope)


def _is_words(node: ast.AST) -> bool:
    """Whether it is a docstring, or an argument that is shown and never decides."""
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.keyword) and node.arg in ONLY_WORDS)


def _replacements(node: ast.AST, parent: ast.AST, field: str) -> Iterator[ast.AST]:
    match node:
        case ast.stmt():
            yield from _statements(node)
        case ast.Constant():
            yield from _constants(node, parent, field)
        case ast.Call():
            yield from _calls(node)
        case ast.Tuple() | ast.List() | ast.Set():
            yield from _shorter(node)
        case _:
            yield from _operators(node)
    if isinstance(parent, ast.comprehension) and field == "ifs":
        yield ast.Constant(True)


def _operators(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for i, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for i in range(len(node.values)):
                rest = [*node.values[:i], *node.values[i + 1 :]]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.BinOp() if type(node.op) in ARITHMETIC and not _is_text(node):
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.IfExp():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Compare | ast.BoolOp | ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If():
            yield _with(node, test=ast.Constant(False))
            yield _with(node, test=ast.Constant(True))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _constants(node: ast.Constant, parent: ast.AST, field: str) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(2 * value if value else 1.0)
    elif isinstance(value, str | bytes) and _decides(parent, field):
        yield ast.Constant(value + ("~" if isinstance(value, str) else b"~"))


def _decides(parent: ast.AST, field: str) -> bool:
    """Whether a text is compared or looked up, rather than shown."""
    if isinstance(parent, ast.Call) and field == "args":
        return isinstance(parent.func, ast.Attribute) and parent.func.attr in TEXT_METHODS
    return isinstance(parent, ast.Compare | ast.Subscript | ast.MatchValue) or (
        isinstance(parent, ast.Dict) and field == "keys"
    )


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name in FUNCTIONS and isinstance(node.func, ast.Name):
        yield _with(node, func=ast.Name(FUNCTIONS[name], ast.Load()))
    elif name in FUNCTIONS:
        yield _with(node, func=_with(node.func, attr=FUNCTIONS[name]))
    if name == "abs" and node.args:
        yield node.args[0]
    if name == "compile" and node.args and isinstance(node.args[0], ast.Constant):
        yield from (_with(node, args=[ast.Constant(text), *node.args[1:]]) for text in _patterns(node.args[0].value))


def _patterns(pattern: str | bytes) -> Iterator[str | bytes]:
    """The pattern without one of its characters, at a few evenly spread places, where it still is a pattern."""
    step = max(1, len(pattern) // MOST_ELEMENTS)
    for i in range(0, len(pattern), step):
        shorter = pattern[:i] + pattern[i + 1 :]
        try:
            re.compile(shorter)
        except re.error:
            continue
        yield shorter


def _shorter(node: ast.Tuple | ast.List | ast.Set) -> Iterator[ast.AST]:
    if len(node.elts) > 1 and all(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in node.elts):
        step = -(-len(node.elts) // MOST_ELEMENTS)
        for i in range(0, len(node.elts), step):
            yield _with(node, elts=[*node.elts[:i], *node.elts[i + 1 :]])


def _is_text(node: ast.BinOp) -> bool:
    """Whether texts are joined or types united, as far as it can be seen: no other operator fits these."""
    sides = [node.left, node.right]
    if any(isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides):
        return True
    return isinstance(node.op, ast.BitOr) and isinstance(node.right, ast.Constant) and node.right.value is None


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _source(node: ast.AST) -> str:
    """The node as one line; of an ``if`` only the condition."""
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    return " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
