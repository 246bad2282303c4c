"""Layouts of public data sets, told by their bytes, from two files to settings that prepare and mine."""

import csv
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prorl.cli import main
from prorl.config.fetch import Fetch
from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.config.section import ConfigError
from prorl.datasets.fetching import fetch, fetched_source
from prorl.errors import DataError
from prorl.params import read_params
from prorl.paths.instances import mine
from prorl.paths.preparing import prepare
from prorl.starting.init import add, start
from tests.paths.logs import reference
from tests.test_architecture import ROOT

ROWS = reference()


@pytest.fixture(autouse=True)
def own_params(tmp_path, monkeypatch):
    """A params.yaml of its own in the current folder."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def write_csv(path, names, rows, delimiter=","):
    with open(path, "w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([names, *rows])


def movielens(folder):
    """The layout of MovieLens's small data set: titles with commas in quotes, genres between bars."""
    write_csv(
        folder / "ratings.csv",
        ["userId", "movieId", "rating", "timestamp"],
        [[user, item, "4.0", time] for user, item, time in ROWS.interactions],
    )
    items = [[item, f"{title}, The (1995)", genres] for item, title, genres in ROWS.items]
    items[0][2] = "(no genres listed)"
    write_csv(folder / "movies.csv", ["movieId", "title", "genres"], items)
    return folder / "ratings.csv", folder / "movies.csv"


def recbole(folder):
    """RecBole's atomic files: names with types, tabs, attributes between spaces, no quoting."""
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    lines += [f"{user}\t{item}\t3\t{time}.0" for user, item, time in ROWS.interactions]
    (folder / "shop.inter").write_text("\n".join(lines))
    lines = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    lines += [f'{item}\t"{title}\t1995\t{genres.replace("|", " ")}' for item, title, genres in ROWS.items]
    (folder / "shop.item").write_text("\n".join(lines))
    return folder / "shop.inter", folder / "shop.item"


def amazon(folder):
    """Amazon's reviews of 2023: milliseconds in CSV; in parquet lists, records and a root category."""
    write_csv(
        folder / "Beauty.csv",
        ["user_id", "parent_asin", "rating", "timestamp"],
        [[f"U{user}", f"B0{item}", "5.0", f"{time}017"] for user, item, time in ROWS.interactions],
    )
    metadata = [
        {
            "main_category": "All",
            "title": title,
            "rating_number": 3,
            "features": [],
            "description": [f"{title} is a thing."],
            "images": [{"large": "x"}],
            "categories": ["All", *genres.split("|")],
            "parent_asin": f"B0{item}",
        }
        for item, title, genres in ROWS.items
    ]
    pq.write_table(pa.Table.from_pylist(metadata), folder / "meta.parquet")
    return folder / "Beauty.csv", folder / "meta.parquet"


def steam(folder):
    """Dates in a TSV; genres and tags written as Python lists in a CSV."""
    days = [
        [f"player {user}", item, "1.5", datetime.fromtimestamp(int(time), UTC).isoformat()]
        for user, item, time in ROWS.interactions
    ]
    write_csv(folder / "reviews.tsv", ["username", "product_id", "hours", "date"], days, "\t")
    items = [[item, title, "Maker", str(genres.split("|")), "['x']"] for item, title, genres in ROWS.items]
    write_csv(folder / "games.csv", ["id", "app_name", "publisher", "genres", "tags"], items)
    return folder / "reviews.tsv", folder / "games.csv"


def movielens_1m(folder):
    """GroupLens's files without a line of names, in latin-1, `::` between values."""
    lines = [f"{user}::{item}::4::{time}" for user, item, time in ROWS.interactions]
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n")
    lines = [f"{item}::{title} é::{genres}" for item, title, genres in ROWS.items]
    (folder / "movies.dat").write_bytes(("\n".join(lines) + "\n").encode("latin1"))
    return folder / "ratings.dat", folder / "movies.dat"


def made_of(folder):
    """Tables and instances of the data set `own` of params.yaml."""
    params = read_params(folder / "params.yaml")
    places = {"downloads": folder / "d", "checksums": folder / "c"}
    fetch("own", params.section(Fetch, "own"), folder / "raw", archives=None, every_seconds=1, **places)
    source = fetched_source(folder / "raw")
    settings = source.completed(params.section(Prepare, "own"))
    made = prepare(source.read(folder / "raw", settings), settings, 1)
    return made, mine(made.interactions, made.items, made.splits, params.section(Mine, "own"), (1,))[0]


@pytest.mark.parametrize("layout", [movielens, recbole, amazon, steam, movielens_1m])
def test_public_layouts_from_files_to_instances(own_params, capsys, layout):
    folder = own_params.parent
    interactions, items = layout(folder)
    before = own_params.read_text()
    assert main(["init", "own", "--interactions", str(interactions), "--items", str(items)]) == 0
    said = capsys.readouterr().out
    assert said.count("    user ") == 3
    assert "2017-07-14" in said
    assert said.endswith("next: dvc repro mine@own\n")
    made, tables = made_of(folder)
    assert made.statistics["raw"]["interactions"] == 560
    assert made.statistics["kept"]["interactions"] > 500
    assert len(set(made.items["attributes"].combine_chunks().flatten().to_pylist()) - {"All"}) == 5
    assert all(
        text.startswith(("Thing", '"Thing')) and len(text.split()) > 2
        for text in made.items["text"].to_pylist()
    )
    assert min(table.num_rows for table in tables.values()) > 0
    comments = [line for line in before.splitlines() if "#" in line and "datasets:" not in line]
    assert [line for line in own_params.read_text().splitlines() if line in comments] == comments


def test_all_layouts_give_the_same_histories_and_runs(own_params):
    found = []
    for layout in (movielens_1m, steam):
        folder = own_params.parent / layout.__name__
        folder.mkdir()
        (folder / "params.yaml").write_text(own_params.read_text())
        add(folder / "params.yaml", "own", start(folder / "params.yaml", *layout(folder), {}).entries)
        found.append(made_of(folder)[1])
    assert found[0] == found[1]


def test_a_root_category_is_ignored(own_params):
    entries = start(own_params, *amazon(own_params.parent), {}).entries
    assert entries["mine"]["ignored_attributes"] == ["All"]
    assert entries["prepare"]["profile"][-1] == "{description:.500}"


def test_columns_that_the_user_names(own_params):
    folder = own_params.parent
    write_csv(folder / "a.csv", ["a", "b", "c"], [[u, i, t] for u, i, t in ROWS.interactions])
    write_csv(folder / "b.csv", ["x", "y", "z"], [[i, t, g.split("|")[0]] for i, t, g in ROWS.items])
    files = folder / "a.csv", folder / "b.csv"
    with pytest.raises(
        ConfigError, match=r"a.csv: no column looks like the user; found a, b, c; name it by --user"
    ):
        start(own_params, *files, {})
    with pytest.raises(
        ConfigError, match=r"b.csv: no column looks like attributes, .*; name it by --attributes"
    ):
        start(own_params, *files, {"user": "a"})
    with pytest.raises(DataError, match=r"b.csv: column 'w' is missing; found \['x', 'y', 'z'\]"):
        start(own_params, *files, {"user": "a", "attributes": "w"})
    tabular = start(own_params, *files, {"user": "a", "attributes": "z", "title": "y"}).entries["prepare"][
        "tabular"
    ]
    assert tabular["interactions"] == {"user": "a", "item": "b", "timestamp": "c"}
    assert tabular["items"] == {"item": "x", "title": "y", "attributes": "z"}


def test_a_k_core_and_a_history_that_leave_something(own_params):
    entries = start(own_params, *movielens(own_params.parent), {}).entries
    assert entries["prepare"]["min_user_interactions"] == 5
    assert entries["mine"]["history_length"] == 10


def test_files_that_share_no_ids(own_params):
    folder = own_params.parent
    interactions, items = movielens(folder)
    items.write_text("movieId,title,genres\nx,X,a|b\ny,Y,c\n")
    with pytest.raises(ConfigError, match=r"ratings.csv: no column holds ids that stand in .*movies.csv"):
        start(own_params, interactions, items, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"", "holds nothing"),
        (b"\x1f\x8b\x08", "is packed or parquet, allowed: "),
        (b"one\ntwo\n", "line 1: 'one' holds no delimiter, allowed: one of"),
    ],
)
def test_files_of_no_use_are_one_line(own_params, capsys, content, message):
    interactions, items = movielens(own_params.parent)
    items = items.with_name("other.csv")
    if content is not None:
        items.write_bytes(content)
    assert main(["init", "own", "--interactions", str(interactions), "--items", str(items)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("prorl: ")
    assert f"other.csv: {message}" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["amazon.beauty", "my data", "Beauty&Co", "import", "ml-100k", "SASRec"])
def test_names_that_a_data_set_cannot_have(own_params, name):
    before = own_params.read_text()
    with pytest.raises(ConfigError, match=r"allowed: |already"):
        add(own_params, name, {})
    assert own_params.read_text() == before


def test_run_mines_with_dvc(own_params, monkeypatch):
    called = []
    monkeypatch.setattr("prorl.starting.running.run_to_mining", lambda name: called.append(name) or 7)
    interactions, items = movielens(own_params.parent)
    assert main(["init", "own", "--interactions", str(interactions), "--items", str(items), "--run"]) == 7
    assert called == ["own"]
    entry = read_params(own_params).section(Fetch, "own")
    assert json.loads(entry.model_dump_json())["files"] == {
        "interactions": "ratings.csv",
        "items": "movies.csv",
    }
