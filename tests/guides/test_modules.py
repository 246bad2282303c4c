"""Which code a guide's results come from."""

import sys
from pathlib import Path

import pytest

from prorl.guide import GuideEntry
from prorl.guides import registry
from prorl.guides.modules import code_of_kind
from tests.guides.outside import ONE_ITEM
from tools.stage_dependencies import ROOT


def names(files):
    return {str(file.relative_to(ROOT)) for file in files}


def test_a_kinds_code_is_its_own_modules_and_its_functions_in_the_registry():
    files, texts = code_of_kind(registry.GUIDES["search"])
    assert {"prorl/guides/search.py", "prorl/simulators/protocol.py", "prorl/prompts.py"} <= names(files)
    assert not names(files) & {"prorl/guides/beam.py", "prorl/guides/registry.py", "prorl/policy/guide.py"}
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


@pytest.mark.parametrize("kind", registry.GUIDES)
def test_no_kind_depends_on_the_whole_registry(kind):
    files, _ = code_of_kind(registry.GUIDES[kind])
    assert "prorl/guides/registry.py" not in names(files)
