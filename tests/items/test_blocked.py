"""The items that guardrails block."""

import pandas as pd
import pytest

from prorl.config.guardrails import Guardrails
from prorl.config.section import ConfigError, build
from prorl.items.blocked import blocked_items

ITEMS = pd.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "raw_id": ["50", "7", "181", "9"],
        "attributes": [["Horror"], ["Comedy", "Drama"], [], ["Drama", "Horror"]],
    }
)


def blocked(items=(), attributes=()):
    values = {"blocked_items": list(items), "blocked_attributes": list(attributes)}
    settings = build(Guardrails, values, "guardrails", "params.yaml")
    return blocked_items(ITEMS, settings, "params.yaml").tolist()


def test_items_are_blocked_by_raw_id_and_by_any_of_their_attributes():
    assert blocked() == []
    assert blocked(["181", "50"]) == [1, 3]
    assert blocked(attributes=["Horror"]) == [1, 4]
    assert blocked(["7"], ["Horror"]) == [1, 2, 4]
    assert blocked(["50"], ["Horror"]) == [1, 4]


@pytest.mark.parametrize(
    ("items", "attributes", "message"),
    [
        (["50", "51"], [], r"blocked_items\[1\]: got '51', allowed: a raw id of the data set$"),
        (
            [],
            ["Horor"],
            r"blocked_attributes\[0\]: got 'Horor', allowed: an attribute of the data set; did you mean "
            r"attribute 'Horror'\?",
        ),
        (["7", "7"], [], r"guardrails\.blocked_items\[1\]: got '7', allowed: each name once"),
        ([50], [], r"guardrails\.blocked_items\[0\]: got 50 \(int\), allowed: text"),
    ],
)
def test_a_slip_of_the_pen_is_refused(items, attributes, message):
    with pytest.raises(ConfigError, match=rf"params\.yaml: (guardrails\.)?{message}"):
        blocked(items, attributes)
