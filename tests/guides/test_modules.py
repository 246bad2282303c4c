"""Which code a guide's results come from."""

import ast
import sys
from pathlib import Path

import pytest

from prorl.guide import GuideEntry
from prorl.guides import kinds, registry
from prorl.guides.modules import code_of_kind
from tests.guides.outside import ONE_ITEM
from tools.stage_dependencies import ROOT

LISTING = {
    "prorl/guides/registry.py",
    *(str(file.relative_to(ROOT)) for file in Path(kinds.__path__[0]).glob("*.py")),
} - {"prorl/guides/kinds/__init__.py"}
FITTED = ("linucb", "off_policy_reinforce", "dqn", "two_critics", "utility_tuning", "impatient")


def names(files):
    return {str(file.relative_to(ROOT)) for file in files}


def test_a_kinds_code_is_its_own_modules_and_its_functions_in_the_registry():
    files, texts = code_of_kind(registry.GUIDES["search"])
    assert {"prorl/guides/search.py", "prorl/simulators/protocol.py", "prorl/prompts.py"} <= names(files)
    assert not names(files) & {"prorl/guides/beam.py", *LISTING, "prorl/policy/guide.py"}
    assert [text.split("(")[0] for text in texts] == ["def _ruled", "def _search", "def _searched"]


def test_a_kind_built_on_another_has_both_modules():
    files, _ = code_of_kind(registry.GUIDES["beam"])
    assert {"prorl/guides/search.py", "prorl/guides/beam.py"} <= names(files)


def test_a_kind_from_outside_has_its_own_module_and_what_that_imports():
    files, texts = code_of_kind(ONE_ITEM)
    assert {"tests/guides/outside.py", "prorl/guide.py"} <= names(files)
    assert texts == []


def test_what_fits_a_guide_counts_too(tmp_path, monkeypatch):
    module = tmp_path / "fits_elsewhere.py"
    module.write_text("import prorl.curves\n\ndef fit(settings, context, session):\n    return {}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import fits_elsewhere  # pyright: ignore[reportMissingImports]

    search = registry.GUIDES["search"]
    files, _ = code_of_kind(GuideEntry(search.settings, search.build, fits_elsewhere.fit))
    assert {Path(module), ROOT / "prorl/curves.py", ROOT / "prorl/guides/search.py"} <= set(files)
    del sys.modules["fits_elsewhere"]


def test_what_a_kind_calls_in_another_module_of_the_registry_counts():
    files, texts = code_of_kind(registry.GUIDES["next_item"])
    assert {"prorl/guides/distances.py", "prorl/guides/next_item.py"} <= names(files)
    assert [text.split("(")[0] for text in texts] == ["def _next_item", "def distances_of"]


def test_a_kind_that_chooses_among_others_has_what_reads_their_settings_and_none_of_them():
    files, texts = code_of_kind(registry.GUIDES["impatient"])
    assert {"def choices", "def read_guide"} <= {text.split("(")[0] for text in texts}
    assert not names(files) & {"prorl/guides/dqn.py", "prorl/guides/popular.py"}


@pytest.mark.parametrize("kind", ["linucb", "off_policy_reinforce", "dqn", "two_critics", "utility_tuning"])
def test_a_kind_fitted_by_its_own_module_has_that_module_and_no_other_kinds(kind):
    files, texts = code_of_kind(registry.GUIDES[kind])
    own = {name for name in FITTED if f"prorl/guides/{name}.py" in names(files)}
    assert own == {kind}
    assert [text.split("(")[0] for text in texts] == [f"def _{kind}"]


@pytest.mark.parametrize("kind", registry.GUIDES)
def test_no_kind_depends_on_the_whole_registry(kind):
    files, _ = code_of_kind(registry.GUIDES[kind])
    assert not names(files) & LISTING


def test_the_families_have_no_kind_in_common():
    families = registry.SEARCHES, registry.FLOORS, registry.PROACTIVE, registry.RIVALS
    assert sum(map(len, families)) == len(registry.GUIDES)


@pytest.mark.parametrize("path", sorted(LISTING))
def test_no_guides_own_module_is_imported_but_in_a_function(path):
    """Else its code would count for no kind: only what functions import does."""
    at_top = [
        node for node in ast.parse((ROOT / path).read_text("utf-8")).body if isinstance(node, ast.ImportFrom)
    ]
    modules = {str(node.module) for node in at_top if str(node.module).startswith("prorl.guides")}
    listing = {name.removesuffix(".py").replace("/", ".") for name in LISTING}
    assert modules <= listing
