"""Entries of registries, and objects from outside the library."""

import importlib
import sys

import pytest

from prorl.config.section import ConfigError
from prorl.registries import entry

REGISTRY = {"one": 1, "two": 2}


def test_a_name_is_an_entry_of_the_registry():
    assert entry(REGISTRY, "two", "key") == 2


def test_module_and_attribute_are_an_object_from_outside(tmp_path, monkeypatch):
    (tmp_path / "my_own_module.py").write_text("THREE = 3", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert entry(REGISTRY, "my_own_module:THREE", "key") == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("three", "params.yaml: x.kind: got 'three', allowed: one, two, or module:attribute"),
        ("json:", "got 'json:', allowed: one, two, or module:attribute"),
        (".json:loads", "got '.json:loads', allowed: one, two, or module:attribute"),
        ("json..decoder:A", "got 'json..decoder:A', allowed: one, two, or module:attribute"),
        ("json:a:b", "got 'json:a:b', allowed: one, two, or module:attribute"),
        (
            "no_such_module:A",
            "got 'no_such_module:A', which cannot be imported: ModuleNotFoundError: No module",
        ),
        ("json:nothing", "got 'json:nothing', but json has no 'nothing'; allowed: one, two, or module"),
    ],
)
def test_anything_else_is_an_error_that_names_key_and_what_is_allowed(name, message, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError, match=message):
        entry(REGISTRY, name, "params.yaml: x.kind")


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("def", "SyntaxError: invalid syntax (a_broken_module.py, line 1)"),
        ("nowhere", "NameError: name 'nowhere' is not defined"),
        ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    ],
)
def test_a_module_that_fails_is_one_line_that_names_the_cause(module, cause, tmp_path, monkeypatch):
    (tmp_path / "a_broken_module.py").write_text(module, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    with pytest.raises(ConfigError) as error:
        entry(REGISTRY, "a_broken_module:A", "key")
    assert str(error.value) == (
        f"key: got 'a_broken_module:A', which cannot be imported: {cause}; "
        "allowed: one, two, or module:attribute"
    )
