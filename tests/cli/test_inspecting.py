"""`prorl inspect semantic-ids`: codes, and neighbours by shared prefix."""

import json

import pytest

from prorl.cli.inspecting import Level, neighbours
from tests.bundle.made import catalogue_of, make_bundle
from tests.cli.checkout import POLICY
from tests.tiny_models import IDENTIFIERS

CODES = [[1, 2, 3], [1, 2, 0], [1, 0, 3], [1, 2, 1], [0, 2, 3]]


def test_neighbours_share_exactly_so_many_first_codes():
    assert neighbours(CODES, 1) == [Level(2, (2, 4)), Level(1, (3,))]
    assert neighbours(CODES, 5) == [Level(2, ()), Level(1, ())]


@pytest.mark.parametrize("item", ["the piano", "m4", "4"])
def test_an_item_is_found_by_title_raw_id_or_number(checkout, prorl, item):
    status, out, _ = prorl("inspect", "semantic-ids", item, "--policy", POLICY, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["item"]["title"] == "The Piano"
    assert found["item"]["number"] == 4
    assert len(found["codes"]) == 3
    assert [level["shared"] for level in found["neighbours"]] == [2, 1]
    same, of_data = prorl("inspect", "semantic-ids", item, "--dataset", "tiny", "--json")[:2]
    assert (same, of_data) == (0, out)


def test_a_table_shows_codes_and_cuts_long_levels(checkout, prorl):
    _, out, _ = prorl("inspect", "semantic-ids", "Alien", "--dataset", "tiny", "--json")
    found = json.loads(out)
    (level,) = [level for level in found["neighbours"] if level["shared"] == 1]
    status, out, _ = prorl("inspect", "semantic-ids", "Alien", "--dataset", "tiny", "--limit", "1")
    assert status == 0
    assert f"codes {' '.join(map(str, found['codes']))}\n" in out
    assert level["items"][0]["title"] in out
    assert f"and {len(level['items']) - 1} more" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Alyens", "--dataset", "tiny"], "'Alyens' is no raw id and no title of the 30 items; did you mean"),
        (["31", "--dataset", "tiny"], "'31' is no raw id and no title of the 30 items"),
        (
            ["Alien", "--dataset", "tiny", "--policy", POLICY],
            "--dataset: got --policy too, allowed: one of the",
        ),
        (["Alien", "--dataset", "none"], "data/prepared/none/items.parquet: "),
        (["Alien"], "params.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_one_line(checkout, prorl, arguments, words):
    status, out, err = prorl("inspect", "semantic-ids", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"prorl: {words}")
    assert err.count("\n") == 1


def test_a_policy_with_item_ids_has_no_codes_to_show(tmp_path, prorl):
    folder = make_bundle(tmp_path, catalogue_of(**IDENTIFIERS["item"]), simulator=False)
    status, out, err = prorl("inspect", "semantic-ids", "r1", "--policy", str(folder))
    assert (status, out) == (1, "")
    assert err.startswith(f"prorl: {folder}/prorl.json: identifiers: got 'item', each item a token")
    assert err.count("\n") == 1
