"""Settings of any form: taken, or refused in one line that names the file and the key."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorl.check import findings_in
from prorl.config.section import ConfigError
from prorl.config.sections import SECTIONS
from prorl.experiments.overrides import applied
from prorl.params import laid_over, params_of, read_params, read_yaml
from prorl.serving.settings import Serve, serve_settings
from tests.hostile import BOUNDED, JSON_VALUES, any_bytes, memory_bounded, only_declared, places, with_value
from tests.tiny_models import PARAMS
from tools.stage_dependencies import ROOT

WITHIN = {key for part in PARAMS.raw.values() if isinstance(part, dict) for key in part}
KEYS = st.sampled_from(sorted({*PARAMS.raw, *WITHIN}))
SCALARS = st.sampled_from(
    [
        *(
            "1",
            "-0",
            "0o7",
            "0x1F",
            "1_000",
            "1e3",
            ".inf",
            "-.INF",
            ".nan",
            "~",
            "null",
            "yes",
            "True",
            "''",
        ),
        *("2001-01-01", "2001-12-14t21:59:43.10-05:00", "12:30:45", "!!binary aGk=", "!!binary x", "!!int x"),
        *("!!float 1", "!!str 1", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp x", "!x y"),
        *("!!python/name:os.system", "!!python/object/new:os.system [true]", "*a", "&a 1", "&a [*a]", "<<"),
        *(
            "'a: b'",
            '"\\ud800"',
            '"\\x00"',
            '"\\U0010ffff"',
            "|\n  text\n   more",
            ">-\n  text",
            "%",
            "@",
            "`",
        ),
        *("[", "]", "{", "}", "[[]]", "{a: {b: c}}", "? a", "? [a]\n: b", "{[a]: b}", "{{a: b}: c}", "a: b"),
        *(
            "9" * 30,
            "[1, 1.5, x]",
            "0." + "9" * 30,
            "- a",
            "---",
            "...",
            "# x",
            "\ufeff",
            "é",
            "\u2028",
            "\t",
        ),
    ]
)


@st.composite
def documents(draw):
    """YAML of a few lines: keys of params.yaml, and values of every kind that YAML has, in blocks."""
    lines = draw(st.sampled_from([[], ["%YAML 1.1", "---"], ["a: &a {x: 1}", "b: {<<: *a}"], ["a: &a 1"]]))
    for _ in range(draw(st.integers(0, 5))):
        indent = " " * draw(st.sampled_from([0, 0, 0, 2, 2, 4, 1]))
        key = draw(st.one_of(KEYS, KEYS, SCALARS))
        lines = [*lines, f"{indent}{key}:{draw(st.sampled_from([' ', ' ', '', '  - ']))}{draw(SCALARS)}"]
    return draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"])).join(lines)


@st.composite
def laid_over_params(draw):
    """params.yaml with a few values of every kind that YAML has in place of its own."""
    changes = draw(st.lists(st.tuples(KEYS, st.one_of(st.none(), KEYS), SCALARS), max_size=3))
    return "\n".join(
        f"{section}: {value}" if key is None else f"{section}: {{{key}: {value}}}"
        for section, key, value in changes
    )


MANY = settings(BOUNDED, max_examples=150)


@MANY
@given(st.one_of(documents(), laid_over_params()))
def test_any_yaml_is_read_or_refused_in_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with only_declared(tmp_path), memory_bounded(512):
        read_params(path)
    with only_declared(tmp_path), memory_bounded(512):
        raw = laid_over(PARAMS.raw, read_yaml(path))
        params = params_of(raw, str(path))
        for kind in SECTIONS.values():
            params.section(kind, params.datasets[0] if kind.per_data_set else None)


@MANY
@given(SCALARS, st.sampled_from(sorted(Serve.model_fields)), st.booleans())
def test_settings_of_the_service_of_any_form_are_taken_or_refused_in_one_line(tmp_path, value, key, alone):
    path = tmp_path / "serve.yaml"
    path.write_text(value if alone else f"serve:\n  {key}: {value}\n", encoding="utf-8")
    with only_declared(tmp_path), memory_bounded(512):
        serve_settings({}, path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("serve.yaml", "serve: {port: 2001-99-99}"),
        ("serve.yaml", "serve: &a [*a]"),
        ("serve.yaml", "serve: {? [a] : 1, {b: c}: 2}"),
        ("serve.yaml", "serve: " + "[" * 3000),
        ("serve.json", '{"serve": ' + "[" * 10**5),
        ("serve.json", '{"serve": {"port": ' + "9" * 5000 + "}}"),
    ],
)
def test_settings_of_the_service_that_no_parser_takes_are_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{tmp_path / name}: "):
        serve_settings({}, tmp_path / name)


@MANY
@given(KEYS, SCALARS)
def test_an_override_of_any_form_is_taken_or_refused_in_one_line(key, value):
    section = next(
        (name for name, part in PARAMS.raw.items() if isinstance(part, dict) and key in part), None
    )
    override = f"{section}.{key}={value}" if section else f"{key}={value}"
    with only_declared(Path("x.yaml")):
        changed, _ = applied(PARAMS.raw, [override], PARAMS.datasets[0], "x.yaml")
        params_of(changed, "x.yaml")


def test_an_override_that_no_parser_takes_is_named():
    for value in ("[", "2001-99-99", "!!python/name:os.system", "\x00", "[" * 3000):
        with pytest.raises(ConfigError, match=r"x.yaml: got 'seed=.*, allowed: a value in YAML"):
            applied(PARAMS.raw, [f"seed={value}"], PARAMS.datasets[0], "x.yaml")


PLACES = [place for place in places(PARAMS.raw) if place]


@BOUNDED
@given(st.sampled_from(PLACES), JSON_VALUES)
def test_any_value_in_params_is_taken_or_refused_in_one_line(place, value):
    raw = with_value(PARAMS.raw, place, value)
    for line in findings_in(raw, "params.yaml"):
        assert line.startswith("params.yaml: ")
    with only_declared(Path("params.yaml")):
        params = params_of(raw, "params.yaml")
        for kind in SECTIONS.values():
            params.section(kind, params.datasets[0] if kind.per_data_set else None)


@BOUNDED
@given(any_bytes(Path(ROOT / "params.yaml").read_bytes()[-3000:]))
def test_a_spoilt_params_file_is_read_or_refused_in_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with only_declared(tmp_path):
        read_params(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
         + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 108)),
         r"params.yaml: more than 100,000 values"),
        (b"a: &a [*a]", r"params.yaml: more than 50 levels"),
        (b"a: !!python/object/apply:os.system ['true']", r"params.yaml: not readable as YAML"),
        (b"a: 2001-99-99", r"params.yaml: not readable as YAML"),
        (b"a: \xff", r"params.yaml: not readable as YAML"),
        (b"a: \x00", r"params.yaml: not readable as YAML"),
        (b"a: " + b"[" * 3000, r"params.yaml: 3,000 opening brackets, allowed: at most 2,000"),
        (b"a: " + b"9" * 5000, r"params.yaml: not readable as YAML"),
        (b"a: 1\na: 2", r"params.yaml: not readable as YAML"),
        (b"#" * (4 * 2**20 + 1), r"params.yaml: 4,194,305 bytes, allowed: at most 4,194,304"),
    ],
)  # fmt: skip
def test_settings_that_could_fill_memory_or_run_something_are_refused(text, message, tmp_path):
    (tmp_path / "params.yaml").write_bytes(text)
    with memory_bounded(512), pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "params.yaml")


def test_a_folder_is_no_params_file(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}: Is a directory"):
        read_yaml(tmp_path)
