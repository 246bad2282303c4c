"""The reference of all settings says what the models declare and params.yaml holds."""

from prorl.config.section import keys_of
from prorl.config.sections import SECTIONS
from tools.parameters import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tools.parameters --write`"


def test_every_setting_has_a_line():
    sections = dict(part.split("\n", 1) for part in page().split("\n## ")[1:])
    for section, kind in SECTIONS.items():
        for key in keys_of(kind):
            assert f"\n| `{key}` | " in sections[section], f"{section}.{key}"


def test_a_line_says_type_bounds_value_and_meaning():
    lines = page().splitlines()
    for line in (
        "| `gamma` | number | above 0 and at most 1 | <code>1.0</code> | Discount of later step rewards |",
        "| `kl.target` | number or null | above 0 | <code>null</code> | "
        "Nats per path that the coefficient follows; null: it is fixed |",
        "| `forbid` | list: choice | `repeats`, `history`, `target` "
        "| <code>[repeats, history, target]</code> | What no path may hold; [] is the published protocol |",
    ):
        assert line in lines
