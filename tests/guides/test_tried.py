"""The settings that params.yaml proposes to try of the guides that are fitted."""

import pytest

from prorl.config.guide import Guide
from prorl.config.section import build
from prorl.guides.registry import GUIDES, mistakes
from tests.tiny_models import PARAMS


@pytest.mark.parametrize(
    "name", ["linucb", "off_policy_reinforce", "dqn", "two_critics", "utility_tuning", "impatient"]
)
def test_four_different_settings_of_each_are_tried_and_all_are_allowed(name):
    values = dict(PARAMS.section(Guide).named[name])
    tried = [values | changes for changes in values.pop("tried")]
    for own in tried:
        own.pop("tried", None)
    read = [build(GUIDES[name].settings, own, name, "params.yaml") for own in tried]
    assert len(read) == 4
    assert all(one != other for i, one in enumerate(read) for other in read[:i])
    sections = [build(Guide, {name: own}, "guide", "params.yaml") for own in tried]
    assert [mistakes([name], section, PARAMS.simulators, "params.yaml") for section in sections] == [[]] * 4
