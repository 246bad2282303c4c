"""The changes that are made of a few lines of code."""

import ast

import pytest

from tools.mutation import mutants_of


def changed(source):
    """Every changed source, each of which must still be Python."""
    found = [mutant.of(source.encode()).decode() for mutant in mutants_of("m.py", source.encode())]
    for text in found:
        ast.parse(text)
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a + b - c", ["a + b + c", "a - b - c"]),
        ("(a * b) / c", ["(a * b) * c", "(a / b) / c"]),
        ("a // b % c ** d", ["a // b * c ** d", "a * b % c ** d", "a // b % c * d"]),
        ("a & ~b", ["a | ~b", "a & b"]),
        ("a <= b < c", ["a < b < c", "a <= b <= c"]),
        ("a not in b", ["a in b"]),
        ("a is None", ["a is not None"]),
        ("a and (b or c)", ["a or (b or c)", "a and (b and c)"]),
        ("not a", ["a"]),
        ("f(-1)", ["f(1)", "f(-2)"]),
        ("f(0.5, True)", ["f(1.5, True)", "f(0.5, False)"]),
        ("loss(a, b.detach())", ["loss(a, b)"]),
        ("(a - b).clamp(min=c).sum()", ["(a - b).sum()", "(a + b).clamp(min=c).sum()"]),
        ("np.maximum(a, b)", ["(a)"]),
        ("a.max(1)", ["a.max(2)"]),
        ("torch.where(a, b, c)", ["(b)", "(c)"]),
        ("a if b else c", ["a if (not b) else c"]),
        ("[a for a in b if a.c]", ["[a for a in b if (not a.c)]"]),
        ('folder / "name"', []),
        ('f"{a + 1}"', []),
        ("π(a) +  # the sum, - not the difference\\\n b".replace("\\", ""), None),
    ],
)
def test_expressions(source, expected):
    if expected is None:
        source = f"({source})"
        assert changed(f"x = {source}") == [f"x = {source.replace('+', '-', 1)}"]
    else:
        assert changed(f"x = {source}") == [f"x = {text}" for text in expected]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x += y", ["x -= y"]),
        ("x[i] = y", ["pass"]),
        ("self.x = y", ["pass"]),
        ("optimizer.step()", ["pass"]),
        ("raise ValueError(a + b)", ["pass"]),
        ("def f(a: int | None = 1) -> int | None:\n    '''Text.'''\n    return a", [
            "def f(a: int | None = 2) -> int | None:\n    '''Text.'''\n    return a"
        ]),
        ("@dataclass(frozen=True)\nclass A:\n    '''Text.'''", []),
        ("while a():\n    break", ["while (not a()):\n    break", "while a():\n    pass"]),
    ],
)  # fmt: skip
def test_statements(source, expected):
    assert changed(source) == expected


def test_a_mutant_tells_where_it_stands_and_what_must_run_for_it():
    source = (
        b"LIMIT = 3\n\n\ndef f(a):\n    if a > LIMIT:\n        return g(\n            a - LIMIT,\n        )\n"
    )
    constant, compared, difference = mutants_of("m.py", source)
    assert (constant.line, constant.before, constant.after) == (1, "LIMIT = 3", "LIMIT = 4")
    assert constant.statement is None  # the import
    assert (compared.line, compared.before, compared.after) == (5, "if a > LIMIT:", "if a >= LIMIT:")
    assert compared.statement == (5, 5)  # of a compound statement the condition alone
    assert (difference.line, difference.before, difference.after) == (7, "a - LIMIT,", "a + LIMIT,")
    assert difference.statement == (6, 8)
