"""Params of a stage whose matrix goes over the keys of a section."""

from tools.stage_dependencies import ROOT, params_of


def test_a_stage_over_the_keys_of_a_section_depends_on_the_one_at_hand():
    script = ROOT / "stages/guide.py"
    own, whole = params_of(script, ["dataset", "guide"]), params_of(script, ["dataset"])
    assert "guide.${item.guide}" in own
    assert "guide" not in own
    assert [param for param in whole if param.startswith("guide")] == ["guide"]
    assert "guides" not in own, "one guide more runs no other again"
