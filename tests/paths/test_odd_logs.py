"""Logs with the faults of real files: mended, refused or told, and never half of them gone in silence."""

import re

import pytest

from prorl.datasets.profiles import read_profiles
from prorl.errors import DataError
from tests.paths.logs import mined, prepared, reference


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The instances of the log without faults."""
    return mined(prepared(reference().write(tmp_path_factory.mktemp("usual"))))[0]


def warned(told, pattern):
    """The one warning that matches."""
    (found,) = [warning for warning in told.warnings if re.search(pattern, warning)]
    return found


def test_a_log_without_faults_gives_no_warning(tmp_path):
    made = prepared(reference().write(tmp_path))
    tables, told = mined(made)
    assert made.told.warnings == told.warnings == []
    assert made.told.lines == [
        "raw: 560 interactions of 40 users with 60 items",
        "kept: 560 interactions of 40 users with 60 items, 100.0%",
        "repeats: 0 interactions (0.0%) with an item that the user has another time too; prepare.repeats is "
        "keep",
        "attributes: 5; 0 items (0.0%) have none; 0 placeholders left out",
    ]
    total = sum(table.num_rows for table in tables.values())
    lengths = [int(count) for count in re.findall(r"(\d+) of \d+", told.lines[1])]
    assert told.lines[1].startswith("runs by length: ")
    assert sum(lengths) == total > 50
    assert told.lines[2] == "repeats: 0 instances (0.0%) hold an item twice"


@pytest.mark.parametrize("mark", ["'", '"'])
def test_attributes_written_as_lists_give_the_same_instances(tmp_path, usual, mark):
    log = reference()
    log.delimiter = "\t"  # the quotes of the lists are then no quotes of the file
    for row in log.items:
        row[2] = f"[{', '.join(f'{mark}{name}{mark}' for name in row[2].split('|'))}]"
    made = prepared(log.write(tmp_path))
    assert made.statistics["attributes"] == 5
    assert mined(made)[0] == usual


def test_a_separator_that_never_cuts_is_told_with_the_one_that_would(tmp_path, usual):
    log = reference()
    log.delimiter = "\t"
    for row in log.items:
        row[2] = row[2].replace("|", ", ")
    made = prepared(log.write(tmp_path))
    assert made.statistics["attributes"] > 5
    assert "hold ','" in warned(made.told, r"none of 60 texts of attributes holds '\|'")
    made = prepared(log.write(tmp_path), separator=",")
    assert made.told.warnings == []
    assert mined(made)[0] == usual


NONE = ["\\N", "(no genres listed)", "(No Genres Listed)", "NaN"]


def test_placeholders_are_no_attributes(tmp_path):
    log = reference()
    for number, row in enumerate(log.items[::3]):
        row[2] = NONE[number % 4]
    made = prepared(log.write(tmp_path))
    assert made.statistics["attributes"] == 5
    assert made.statistics["items_without_attributes"] == made.statistics["placeholders_left_out"] == 20
    assert all("(" not in text and "\\" not in text for text in made.items["text"].to_pylist())
    shared = prepared(log.write(tmp_path), placeholders=[])
    assert shared.statistics["attributes"] == 9
    assert len(mined(shared)[0]["train"]) > len(mined(made)[0]["train"])


def test_many_items_without_attributes_are_told(tmp_path):
    log = reference()
    for number, row in enumerate(log.items):
        row[2] = NONE[number % 4] if number % 2 else row[2]
    warned(prepared(log.write(tmp_path)).told, "50.0% of the items have no attribute")


def test_an_attribute_that_most_items_have_is_told(tmp_path):
    log = reference()
    for row in log.items[:40]:
        row[2] += "|Misc."
    made = prepared(log.write(tmp_path))
    assert "mine.ignored_attributes" in warned(made.told, r"66.7% of the items have the attribute 'Misc.'")


def test_ids_that_lost_their_leading_zeros_are_told_with_those_of_both_files(tmp_path):
    log = reference()
    for row in log.items:
        row[0] = row[0].replace("1", "3", 1) if int(row[0]) % 2 else row[0]
    spelt = {row[0]: (row[0] if number % 2 else f"00{row[0]}") for number, row in enumerate(log.items)}
    for row in log.interactions:
        row[1] = spelt.get(row[1], row[1])
    # Half of the items are now described without the zeros that the interactions have.
    for row, number in zip(log.items, range(60), strict=True):
        row[0] = str(100 + number)
    made = prepared(log.write(tmp_path))
    dropped = made.statistics["dropped"]["items_without_description"]
    assert dropped["items"] == 30
    line = next(line for line in made.told.lines if "items that the source does not describe" in line)
    assert re.search(r"such as '00\d+', '00\d+'; described are '100', '101'$", line)
    said = warned(made.told, "are dropped, items that the source does not describe: leading zeros are lost")
    match = re.search(r"of the interactions is '(\d+)', among the items it is '(\d+)'", said)
    assert match is not None
    assert match[1] == f"00{match[2]}"


def test_other_spellings_of_ids(tmp_path):
    log = reference()
    for row in log.items:
        row[0] += ".0"
    with pytest.raises(DataError, match=r"nothing is left .*; 100.0% .* written with decimals in one file"):
        prepared(log.write(tmp_path))
    for row in log.items:
        row[0] = f"B{row[0]}"
    with pytest.raises(DataError, match=r"nothing is left .*; 100.0% .* ids of different kinds; .*'B100.0'"):
        prepared(log.write(tmp_path))


def test_seconds_and_milliseconds_in_one_log_are_told(tmp_path):
    log = reference()
    for row in log.interactions[::2]:
        row[2] += "000"
    made = prepared(log.write(tmp_path))
    said = warned(made.told, "the times of one log span a factor of 100 and more")
    assert "280 of 560 are of the smaller kind" in said
    assert "1500040030 at line 3" in said


def test_times_that_count_up_are_not_told(tmp_path):
    log = reference()
    for number, row in enumerate(log.interactions):
        row[2] = str(number)
    assert prepared(log.write(tmp_path)).told.warnings == []


def test_repeats_are_told_and_kept_or_not(tmp_path):
    log = reference()
    plain = mined(prepared(log.write(tmp_path)))[0]
    late = [[user, item, str(int(time) + 10**8)] for user, item, time in log.interactions]
    log.interactions += log.interactions + late[:-280]
    made = prepared(log.write(tmp_path))
    assert made.statistics["repeated_interactions"] == 840
    warned(made.told, "60.0% of the interactions repeat an item of their user")
    warned(mined(made)[1], "of the instances hold an item twice")
    first = prepared(log.write(tmp_path), repeats="first")
    assert first.statistics["dropped"]["repeats"] == {"interactions": 840, "users": 0, "items": 0}
    assert first.statistics["repeated_interactions"] == 0
    assert mined(first)[0] == plain
    last = prepared(log.write(tmp_path), repeats="last")
    times = last.interactions["timestamp"].to_numpy()
    assert len(times) == 560
    assert (times > 1_600_000_000).sum() == 280


def test_a_quote_that_is_never_closed_is_refused_or_a_character(tmp_path):
    log = reference()
    log.delimiter = "\t"
    log.items[3][1], log.items[9][1] = '"Thing', '"Thing" or not'
    with pytest.raises(DataError, match=r'items.tsv: line 11: text follows the " that closes .* on line 5'):
        prepared(log.write(tmp_path))
    made = prepared(log.write(tmp_path), quote=None)
    assert made.statistics["kept"] == {"interactions": 560, "users": 40, "items": 60}
    assert made.items["title"][3].as_py() == '"Thing'


def test_values_that_hold_line_ends_are_told(tmp_path):
    log = reference()
    log.items[3][1] = '"Thing\nwith\nlines"'
    made = prepared(log.write(tmp_path))
    assert "1 quoted values hold line ends; the longest begins on line 5 and ends on line 7" in warned(
        made.told, "prepare.tabular.quote: null"
    )


def test_users_and_items_that_a_filter_drops_are_told_with_examples_and_the_likely_cause(tmp_path):
    log = reference()
    log.interactions = [row for row in log.interactions if int(row[0]) <= 15 or int(row[2]) % 40_000 < 90]
    made = prepared(log.write(tmp_path), min_user_interactions=10)
    line = next(line for line in made.told.lines if "users below 10" in line)
    assert "75 interactions (26.3%), 25 users, 0 items" in line
    with pytest.raises(DataError, match=r"nothing is left .*: half of the users have at most 3 interactions"):
        prepared(log.write(tmp_path), min_user_interactions=14, min_item_interactions=4)


def test_texts_made_elsewhere_may_hold_half_a_character(tmp_path):
    (tmp_path / "texts.json").write_text(r'{"a": "x \ud83d"}')
    assert read_profiles(tmp_path / "texts.json", ["a"]) == ["x \ufffd"]
