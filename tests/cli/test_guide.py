"""`prorl guide`: a path with titles and what the simulator says of it, for anybody."""

import io
import json
import shutil

import pyarrow as pa
import pytest

from prorl.bundle.policy import load_policy
from prorl.cli import main
from prorl.config.section import ConfigError
from prorl.layout import Layout
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS, part_path, read_table, write_table
from tests.cli.checkout import DATASET, HISTORY, POLICY, genres_of, title_of

SOMEBODY = ("--history", "Film 7", "m8", "Film 9")


@pytest.fixture(scope="module")
def policy(made):
    return load_policy(made / POLICY)


def document(capsys, *arguments):
    assert main(["guide", *arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def titles(path):
    return [item["title"] for item in path["items"]]


def test_a_user_of_the_data_is_led_from_the_last_items_they_had(checkout, policy, capsys):
    found = document(capsys, "--user", "u1", "--target", "alien")
    assert found["policy"] == {"name": "prorl", "dataset": "tiny", "version": policy.version}
    (path,) = found["paths"]
    assert [item["title"] for item in path["history"]] == [title_of(item) for item in HISTORY[-5:]]
    assert path["target"]["title"] == "Alien"
    (expected,) = policy.guide([policy.items[item] for item in HISTORY[-5:]], "Alien")
    assert titles(path) == [item.title for item in expected.items]
    judged = policy.judged([expected])[0]
    assert path["judged"] == judged.as_dict()
    assert len(judged.target_rank) == len(expected.items) + 1


def test_a_user_of_data_in_parts_is_led_alike(tmp_path, made, monkeypatch, capsys):
    shutil.copytree(made, tmp_path / "parts")
    monkeypatch.chdir(tmp_path / "parts")
    found = document(capsys, "--user", "u1", "--target", "alien")
    layout = Layout(DATASET)
    for path, schema in ((layout.splits, USER_SPLITS), (layout.interactions, INTERACTIONS)):
        table = read_table(path, schema)
        path.unlink()
        path.mkdir()
        for part in range(2):
            start = part * (table.num_rows // 2)
            rows = table.slice(start, table.num_rows // 2 if part == 0 else None)
            write_table(part_path(path, part), rows, schema)
    assert document(capsys, "--user", "u1", "--target", "alien") == found


def test_a_table_shows_titles_shared_attributes_and_what_the_simulator_says(checkout, policy, prorl):
    status, out, err = prorl("guide", *SOMEBODY, "--target", "Blade Runner")
    assert (status, err) == (0, "")
    (path,) = policy.guide(["Film 7", "Film 8", "Film 9"], "Blade Runner")
    judged = policy.judged([path])[0]
    lines = out.splitlines()
    assert lines[0] == "History: Film 7 > Film 8 > Film 9"
    assert lines[1].startswith("Target:  Blade Runner  ")
    assert lines[2] == f"Policy:  tiny/prorl, version {policy.version}, told acceptance 1"
    before = genres_of(9)
    for step, item in enumerate(path.items):
        (line,) = [line for line in lines if line.startswith(f"{step + 1} ")]
        shown = [f"{genre}*" if genre in before else genre for genre in item.attributes]
        assert f"{item.title} " in line
        assert f" {', '.join(shown)} " in line
        assert line.split()[-3:] == [
            f"{100 * judged.acceptance[step]:.3g}%",
            f"{100 * judged.target_probability[step + 1]:.3g}%",
            str(judged.target_rank[step + 1]),
        ]
        before = item.attributes
    (line,) = [line for line in lines if "(before)" in line]
    assert line.split()[-1] == str(judged.target_rank[0])
    assert f"rank {judged.target_rank[0]} before, {judged.target_rank[-1]} after" in out.replace("\n", " ")
    assert "\x1b" not in out


def test_several_values_of_an_option_stand_behind_its_name_or_each_behind_its_own(checkout, capsys):
    at_once = document(capsys, *SOMEBODY, "--target", "Alien", "--avoid", "Comedy", "Film 10")
    each = ("--history", "Film 7", "--history=m8", "Film 9", "--avoid", "Comedy", "--avoid", "m10")
    assert document(capsys, *each, "--target", "Alien") == at_once
    items = at_once["paths"][0]["items"]
    assert not any("Comedy" in item["attributes"] or item["title"] == "Film 10" for item in items)


@pytest.mark.parametrize(("length", "allowed"), [("3", {3}), ("1-2", {1, 2})])
def test_length_is_exact_or_a_range(checkout, capsys, length, allowed):
    found = document(capsys, *SOMEBODY, "--target", "Alien", "--length", length)
    assert len(found["paths"][0]["items"]) in allowed


def test_samples_are_as_many_as_asked_for_and_depend_on_the_seed(checkout, capsys):
    options = (*SOMEBODY, "--target", "Alien", "--sample", "3", "--temperature", "5")
    found = document(capsys, *options)
    assert len(found["paths"]) == 3
    assert all(0 < item["propensity"] < 1 for path in found["paths"] for item in path["items"])
    assert document(capsys, *options) == found
    others = document(capsys, *options, "--seed", "1")
    assert [titles(path) for path in others["paths"]] != [titles(path) for path in found["paths"]]


def test_search_writes_what_the_policy_says_it_finds(checkout, policy, capsys):
    found = document(capsys, *SOMEBODY, "--target", "Alien", "--guide", "search", "--acceptance", "0")
    (expected,) = policy.search(["Film 7", "Film 8", "Film 9"], "Alien", acceptance=0.0)
    assert titles(found["paths"][0]) == [item.title for item in expected.items]
    assert found["guide"] == "search"


def test_another_simulator_judges_by_name_or_folder(checkout, capsys):
    own = document(capsys, *SOMEBODY, "--target", "Alien")
    for name in ("SASRec", "models/simulators/tiny/SASRec"):
        assert document(capsys, *SOMEBODY, "--target", "Alien", "--simulator", name)["paths"] == own["paths"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            [*SOMEBODY, "--target", "Aliem"],
            "target: 'Aliem' is no raw id and no title of the 30 items; did you mean",
        ),
        (["--history", "Blade Runer", "--target", "Alien"], "--history: 'Blade Runer' is no raw id and no"),
        (
            ["--user", "u3", "--target", "Alien"],
            "--user: got 'u3', allowed: a raw id of the 2 users of data/prepared/tiny/splits.parquet\n",
        ),
        (["--target", "Alien"], "--user, --history: got neither, allowed: one of the two"),
        (
            [*SOMEBODY, "--user", "u1", "--target", "Alien"],
            "--user, --history: got both, allowed: one of the",
        ),
        (
            [*SOMEBODY, "--target", "Alien", "--length", "4-x"],
            "--length: got '4-x', allowed: a number of items",
        ),
        ([*SOMEBODY, "--target", "Alien", "--length", "9"], "length: got 9, allowed: 1 to 4"),
        ([*SOMEBODY, "--target", "Alien", "--guide", "beam"], "--guide: got 'beam', allowed: policy, search"),
        ([*SOMEBODY, "--target", "Alien", "--temperature", "2"], "--temperature: got 2.0 without --sample"),
        (
            [*SOMEBODY, "--target", "Alien", "--sample", "2", "--guide", "search"],
            "--sample: got 2 with --guide",
        ),
        (
            [*SOMEBODY, "--target", "Alien", "--acceptance", "0.3"],
            "acceptance: got 0.3, allowed: one of [0.0, 1.0]",
        ),
        (
            [*SOMEBODY, "--target", "Alien", "--avoid", "Comdy"],
            "avoid: 'Comdy' is no raw id and no title of the",
        ),
        (
            [*SOMEBODY, "--target", "Alien", "--simulator", "Caser"],
            "--simulator: got 'Caser', allowed: a simulator's ",
        ),
        ([*SOMEBODY, "--target", "Alien", "--policy", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(checkout, prorl, arguments, words):
    status, out, err = prorl("guide", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"prorl: {words}")
    assert err.count("\n") == 1


def test_data_made_again_with_other_numbers_are_refused(tmp_path, made, monkeypatch, prorl):
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    path = tmp_path / "copy/data/prepared/tiny/items.parquet"
    table = read_table(path, ITEMS)
    other = ["x" if raw_id == "m12" else raw_id for raw_id in table["raw_id"].to_pylist()]
    write_table(path, table.set_column(1, "raw_id", pa.array(other)), ITEMS)
    status, _, err = prorl("guide", "--user", "u1", "--target", "Alien")
    assert status == 1
    assert err == (
        "prorl: data/prepared/tiny/items.parquet: item 12: got raw id 'x', allowed: 'm12', as in the policy: "
        "it was made from other data\n"
    )


def test_the_policy_is_the_only_released_one_and_no_choice_is_made_among_several(
    tmp_path, made, monkeypatch, prorl
):
    monkeypatch.chdir(tmp_path)
    asked = ("guide", *SOMEBODY, "--target", "Alien")
    status, _, err = prorl(*asked)
    assert status == 1
    assert err.startswith("prorl: --policy: missing, and models/released/ holds no released policy; ")
    for name in ("tiny/prorl", "other/prorl"):
        shutil.copytree(made / POLICY, tmp_path / "models/released" / name)
    status, _, err = prorl(*asked)
    assert status == 1
    assert err == (
        "prorl: --policy: missing, allowed: one of models/released/other/prorl, models/released/tiny/prorl\n"
    )
    assert prorl(*asked, "--policy", "models/released/other/prorl")[0] == 0


def test_a_user_is_asked_for_only_where_data_are(tmp_path, made, monkeypatch, prorl):
    monkeypatch.chdir(tmp_path)
    status, _, err = prorl("guide", "--user", "u1", "--target", "Alien", "--policy", str(made / POLICY))
    assert status == 1
    assert err.startswith("prorl: --user: got 'u1', but data/prepared/ is not here: ")


def test_without_the_extra_the_path_is_shown_alone_and_one_line_says_what_is_needed(
    checkout, prorl, monkeypatch
):
    def refuse(for_what):
        raise ConfigError(f'{for_what} needs the extra "pipeline": pip install "prorl[pipeline]"')

    monkeypatch.setattr("prorl.bundle.policy.need_recbole", refuse)
    asked = ("guide", *SOMEBODY, "--target", "Alien")
    status, out, err = prorl(*asked)
    assert status == 0
    assert "accepts" not in out
    assert "1   " in out
    assert err.count("\n") == 1
    assert 'needs the extra "pipeline"' in err
    for demanded in (["--simulator", "SASRec"], ["--guide", "search"]):
        status, out, err = prorl(*asked, *demanded)
        assert (status, out) == (1, "")
        assert 'needs the extra "pipeline"' in err


@pytest.mark.parametrize("columns", ["40", "20"])
def test_a_narrow_terminal_shows_a_list_that_fits(checkout, prorl, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, out, _ = prorl("guide", *SOMEBODY, "--target", "Alien", "--sample", "2")
    assert status == 0
    assert "Path 2 of 2" in out
    assert "(before)" in out
    assert max(map(len, out.splitlines())) <= int(columns)


def test_an_encoding_that_lacks_letters_does_not_break_it(checkout, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["guide", "--history", "Amelie", "--target", "Alien", "--length", "1"]) == 0
    assert b"History: Am?lie" in written.getvalue()
