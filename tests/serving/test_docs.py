"""docs/serving.md against the code: its table of settings, its routes, its kinds of lines."""

import re

import pytest

from prorl.serving.journal import KINDS
from prorl.serving.limits import ROUTES
from prorl.serving.settings import Serve
from tools.stage_dependencies import ROOT

PAGE = (ROOT / "docs/serving.md").read_text(encoding="utf-8")


def told(default):
    if default is None or isinstance(default, bool):
        return {None: "none", True: "true", False: "false"}[default]
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("name", Serve.model_fields)
def test_every_setting_is_told_with_its_default(name):
    field = Serve.model_fields[name]
    assert f"\n| `{name}` | {told(field.default)} | {field.description} |\n" in PAGE


def test_no_other_setting_is_told():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Settings")[1], re.MULTILINE)
    assert rows == list(Serve.model_fields)


def test_every_route_and_every_key_of_the_log_is_told():
    for route in ROUTES:
        assert f"{route}`" in PAGE or f"{route}?" in PAGE or f"{route}'" in PAGE, route
    for kind, keys in KINDS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |"))
        assert {key for key in keys if key != "kind"} <= set(re.findall(r"`(\w+)`", row))
