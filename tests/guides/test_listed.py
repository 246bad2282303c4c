"""The guides of params.yaml and of the benchmark: each has settings that may be built."""

import pytest

from prorl.config.guide import Guide
from prorl.config.section import build
from prorl.guides.registry import read_guide
from prorl.params import laid_over, read_params, read_yaml
from tools.stage_dependencies import ROOT

PARAMS = read_params(ROOT / "params.yaml")
BENCHMARK = read_yaml(ROOT / "presets" / "benchmark.yaml")
SECTION = build(
    Guide, laid_over(dict(PARAMS.section(Guide).named), BENCHMARK["guide"]), "guide", "benchmark.yaml"
)


@pytest.mark.parametrize("name", SECTION.named)
def test_settings_of_every_guide_can_be_read_and_at_most_four_are_tried(name):
    options = read_guide(name, SECTION, BENCHMARK["simulators"], "benchmark.yaml").options
    assert 1 <= len(options) <= 4


def test_the_benchmark_names_no_guide_without_settings():
    assert set(BENCHMARK["guides"]) <= set(SECTION.named)
