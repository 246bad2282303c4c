"""docs/reliability.md names tests that are there."""

import re

from tools.stage_dependencies import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there():
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(files) > 20
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_what_is_said_to_be_slow_is():
    for file in re.findall(r"`(tests/[\w/]+\.py)` \(slow", PAGE):
        assert "@pytest.mark.slow" in (ROOT / file).read_text(encoding="utf-8"), file
