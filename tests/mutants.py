"""Small wrong changes to a Python source: what a test must be able to notice.

Left out, because nothing of what the program promises depends on them: annotations, decorators, docstrings and other
strings, `__repr__`, dataclass `field(...)` settings; and invariants (`assert`, `check`), which are tests themselves.
"""

import ast
import random
from collections.abc import Iterator
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED_FIELDS = frozenset({"annotation", "returns", "decorator_list", "type_params", "bases"})
UNTOUCHED_FUNCTIONS = frozenset({"__repr__", "check"})
EFFECTS = ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Expr


class Site(NamedTuple):
    """A place in a tree: the node that a field of its parent, or one entry of that field, holds."""

    parent: ast.AST
    field: str
    position: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.position is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.position] = node


class Mutant(NamedTuple):
    """A source with one change in it."""

    line: int
    change: str
    source: str


def mutants(source: str, sample: int, seed: str) -> list[Mutant]:
    """A random few of all the mutants of a source, in the order of its lines."""
    tree = ast.parse(source)
    changes = [(site, node) for site in sites(tree) for node in replacements(site)]
    chosen = sorted(random.Random(seed).sample(range(len(changes)), min(sample, len(changes))))
    return [mutant(tree, *changes[number]) for number in chosen]


def mutant(tree: ast.Module, site: Site, replacement: ast.AST) -> Mutant:
    """The source of the tree with one replacement, which is undone again."""
    before, after = (shorten(ast.unparse(node)) for node in (site.node, replacement))
    site.put(replacement)
    text = ast.unparse(ast.fix_missing_locations(tree))
    site.put(site.node)
    return Mutant(getattr(site.node, "lineno", 0), f"{before}  ->  {after}", text)


def shorten(text: str) -> str:
    first, *rest = text.splitlines()
    return first[:70] + ("..." if rest or len(first) > 70 else "")


def sites(tree: ast.AST) -> Iterator[Site]:
    """Every place that may be changed, outermost first."""
    for field, value in ast.iter_fields(tree):
        if field in UNTOUCHED_FIELDS:
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, node in children:
            if isinstance(node, ast.AST) and not is_untouched(node):
                yield Site(tree, field, index, node)
                yield from sites(node)


def is_untouched(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.FunctionDef(name=name):
            return name in UNTOUCHED_FUNCTIONS
        case ast.Call(func=ast.Name(id="field" | "cast")) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.BinOp(op=ast.BitOr(), right=ast.Constant(value=None)):  # a type
            return True
        case _:
            return False


def replacements(site: Site) -> Iterator[ast.AST]:
    """The wrong nodes that may stand in the place of the right one."""
    if site.field == "test" and isinstance(site.parent, ast.If | ast.IfExp | ast.While):
        yield ast.Constant(value=False)
        if not isinstance(site.parent, ast.While):
            yield ast.Constant(value=True)
    if isinstance(site.node, ast.stmt):
        yield from wrong_statements(site.node)
    else:
        yield from wrong_expressions(site.node)


def wrong_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(value=ast.Constant(value=None))
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield ast.AugAssign(target=node.target, op=ARITHMETIC[type(op)](), value=node.value)
    if isinstance(node, EFFECTS):
        yield ast.Pass()


def wrong_expressions(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=comparators):
            for other in COMPARISONS[type(op)]:
                yield ast.Compare(left=left, ops=[other()], comparators=comparators)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left=left, op=ARITHMETIC[type(op)](), right=right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(op=ast.Or() if isinstance(op, ast.And) else ast.And(), values=values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool() | int() | float() as value):
            yield ast.Constant(value=not value if isinstance(value, bool) else value + 1)
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(id=NAMES[name])
