"""Small changes of a module's code, one at a time, found in its syntax tree: what `tools.mutants` tests the
tests with.

An operator becomes its neighbour (`+` and `-`, `<` and `<=`, `and` and `or`, ..), a number one more, a truth
value the other; a unary operator, a call such as `.detach()`, a bound of `max` or a whole statement is left
out; a condition is turned round. Annotations, decorators, docstrings, formatted text and what
stands behind `raise` stay as they are.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

SWAPPED = {
    "+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*",
    "&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<",
    "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "&=": "|=", "|=": "&=",
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "is": "is not", "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and",
}  # fmt: skip
DROPPED_METHODS = (
    "abs",
    "clamp",
    "detach",
    "double",
    "exp",
    "log",
    "masked_fill",
    "sigmoid",
    "sqrt",
    "square",
)
# calls that become one of their arguments, by its place
REPLACED_CALLS = {"max": (0,), "min": (0,), "maximum": (0,), "minimum": (0,), "where": (1, 2)}
NO_OPERATOR = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT)


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes `start` to `end` of `module` become `text`.

    `line` is where it stands, `before` and `after` are its source lines, joined. `statement` is the first and
    the last line of what must run for an effect; None where that is the import.
    """

    module: str
    start: int
    end: int
    text: str
    line: int
    before: str
    after: str
    statement: tuple[int, int] | None

    def of(self, source: bytes) -> bytes:
        """`source` with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants_of(module: str, source: bytes) -> list[Mutant]:
    """All mutants of the `source` of `module`, in the order of the syntax tree."""
    return list(_Module(module, source).mutants())


class _Module:
    """A module's source, tokens and tree."""

    def __init__(self, module: str, source: bytes):
        self.module, self.source = module, source
        lines = source.splitlines(keepends=True)
        self.starts = [0]  # of each line, in bytes
        for line in lines:
            self.starts.append(self.starts[-1] + len(line))
        self.tokens = []  # (start, end, text) of what may be an operator
        for token in tokenize.generate_tokens(io.StringIO(source.decode()).readline):
            if token.type in NO_OPERATOR or token.string in ("(", ")"):
                continue
            start, end = (
                self.starts[row - 1] + len(lines[row - 1].decode()[:column].encode())
                if row <= len(lines)
                else len(source)
                for row, column in (token.start, token.end)
            )
            self.tokens.append((start, end, token.string))

    def mutants(self) -> Iterator[Mutant]:
        yield from self._below(ast.parse(self.source), None, in_function=False)

    def _below(self, parent: ast.AST, statement: ast.stmt | None, *, in_function: bool) -> Iterator[Mutant]:
        """The mutants of what stands in `parent`, which belongs to `statement`."""
        for field, value in ast.iter_fields(parent):
            inside = in_function
            if isinstance(parent, ast.FunctionDef):
                if field in ("returns", "decorator_list", "name"):
                    continue
                inside = in_function if field == "args" else True  # defaults are made where it is defined
            for node in value if isinstance(value, list) else [value]:
                if not isinstance(node, ast.AST) or _stays(node, parent, field):
                    continue
                own = node if isinstance(node, ast.stmt) else statement
                for start, end, text in self._changes(node):
                    yield self._mutant(start, end, text, node, own if inside else None)
                if not isinstance(node, ast.Raise):
                    yield from self._below(node, own, in_function=inside)

    def _mutant(self, start: int, end: int, text: str, node: ast.AST, statement: ast.stmt | None) -> Mutant:
        first = sum(at <= start for at in self.starts)
        last = sum(at < end for at in self.starts)
        low, high = self.starts[first - 1], self.starts[last]
        changed = self.source[low:start] + text.encode() + self.source[end:high]
        span = None
        if statement is not None:
            whole = (
                node if hasattr(statement, "body") else statement
            )  # of a compound statement, the part alone
            span = (whole.lineno, whole.end_lineno)
        return Mutant(
            self.module, start, end, text, first, _joined(self.source[low:high]), _joined(changed), span
        )

    def _changes(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        """What `node` itself may become: bytes from, to, and the new text."""
        whole = self._span(node) if hasattr(node, "lineno") else (0, 0)
        match node:
            case ast.BinOp(left=left, right=right):
                if not isinstance(node.op, ast.Div) or not _is_text(right):  # a path
                    yield from self._swapped(left, right)
            case ast.AugAssign(target=target, value=value):
                yield from self._swapped(target, value)
            case ast.Compare(left=left, comparators=comparators):
                for one, other in pairwise([left, *comparators]):
                    yield from self._swapped(one, other)
            case ast.BoolOp(values=values):
                for one, other in pairwise(values):
                    yield from self._swapped(one, other)
            case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
                start, end, _ = self._tokens(whole[0], self._span(operand)[0])[0]
                yield start, end + self.source[end : end + 1].isspace(), ""
            case ast.Constant(value=bool(value)):
                yield *whole, str(not value)
            case ast.Constant(value=int(value) | float(value)):
                yield *whole, repr(value + 1)
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in DROPPED_METHODS:
                dot = next(t for t in self._tokens(self._span(value)[1], whole[1]) if t[2] == ".")
                yield dot[0], whole[1], ""
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args):
                for place in REPLACED_CALLS.get(name, ()):
                    if len(args) > max(1, place):
                        start, end = self._span(args[place])
                        yield *whole, f"({self.source[start:end].decode()})"
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield from self._turned_round(test)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield from self._turned_round(test)
            case ast.Expr() | ast.Raise() | ast.Break() | ast.Continue():
                yield *whole, "pass"
            case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
                yield *whole, "pass"

    def _turned_round(self, test: ast.expr) -> Iterator[tuple[int, int, str]]:
        """`not` before a condition in which nothing else can be changed so."""
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            start, end = self._span(test)
            yield start, end, f"(not {self.source[start:end].decode()})"

    def _swapped(self, left: ast.AST, right: ast.AST) -> Iterator[tuple[int, int, str]]:
        """The operator between two operands as its neighbour."""
        found = self._tokens(self._span(left)[1], self._span(right)[0])
        # parentheses are no tokens here, so that the operator is all that is left; it may have two words
        operator = " ".join(text for _, _, text in found)
        if operator in SWAPPED:
            yield found[0][0], found[-1][1], SWAPPED[operator]

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _tokens(self, start: int, end: int) -> list[tuple[int, int, str]]:
        return [token for token in self.tokens if start <= token[0] and token[1] <= end]


def _stays(node: ast.AST, parent: ast.AST, field: str) -> bool:
    """Whether nothing in `node` is changed."""
    return (
        field == "annotation"
        or isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))  # a docstring, or `...`
        or (isinstance(parent, ast.ClassDef) and field in ("decorator_list", "bases", "keywords"))
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _joined(source: bytes) -> str:
    return " ".join(source.decode().split())
