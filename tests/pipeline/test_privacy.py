"""No user's history or id leaves `data/` and `models/`, which git ignores; nothing printed names a user."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest

from prorl.layout import Layout
from tests.pipeline.clones import DATASET, clone_of, stages_run
from tests.pipeline.test_repeated_run import alone

IN_A_ROW = 4  # items of one history side by side: what is told of items alone has none
OURS = "reader-of-ours"  # in every raw id of a user, where ids must not be taken for numbers
KEYS = {"user", "users", "user_id", "raw_id", "raw_ids", "user_ids", "history", "histories"}


def texts_in_git(clone):
    """Every text that git has or would take from the clone's outputs."""
    listed = clone.run("git", "ls-files", "-co", "--exclude-standard", "reports", "data", "models").stdout
    return {name: (clone.root / name).read_text(encoding="utf-8") for name in listed.splitlines()}


def listed_below(value, keys):
    """Lists of ids or texts under one of `keys` anywhere in the JSON `value`."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key in keys and isinstance(part, list):
                yield key
            yield from listed_below(part, keys)
    elif isinstance(value, list):
        for part in value:
            yield from listed_below(part, keys)


def test_git_takes_nothing_of_data_and_models_and_reports_are_texts(pipeline):
    texts = texts_in_git(pipeline.clone)
    assert texts
    assert not [name for name in texts if not name.startswith("reports/")]
    for name, text in texts.items():
        if name.endswith(".json"):
            assert list(listed_below(json.loads(text), KEYS)) == [], name


def test_no_report_holds_a_stretch_of_a_history(pipeline):
    root, layout = pipeline.clone.root, Layout(DATASET)
    table = pq.read_table(root / layout.interactions).sort_by(
        [("user", "ascending"), ("timestamp", "ascending")]
    )
    items = pq.read_table(root / layout.items)
    titles, raw_ids = (items[name].to_pylist() for name in ("title", "raw_id"))
    histories = {}
    for user, item in zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True):
        histories.setdefault(user, []).append(item)
    for split in ("validation", "test"):
        for user, history in enumerate(pq.read_table(root / layout.instances(split))["history"].to_pylist()):
            histories[split, user] = history
    assert len(histories) > 100
    ways = (lambda item: str(item), lambda item: raw_ids[item - 1], lambda item: titles[item - 1])
    forbidden = set()
    for history in histories.values():
        for first in range(len(history) - IN_A_ROW + 1):
            stretch = history[first : first + IN_A_ROW]
            forbidden |= {"|".join(way(item) for item in stretch) for way in ways}
    for name, text in texts_in_git(pipeline.clone).items():
        values = [part.strip() for part in re.split(r"[\n\t,;|<>\"\[\]{}]+", text) if part.strip()]
        found = {"|".join(values[i : i + IN_A_ROW]) for i in range(len(values))} & forbidden
        assert not found, f"{name}: {found}"


def name_users(clone):
    """Give every user in the clone's raw files an id that is no number."""
    for kind in ("inter", "user"):
        path = clone.root / f"data/raw/{DATASET}/{DATASET}.{kind}"
        head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.unlink()  # it may be a link into DVC's cache
        path.write_text(head + "".join(f"{OURS}-{row}" for row in rows), encoding="utf-8")


def check_no_user_is_named(clone, printed):
    """Neither in what was `printed` nor in the clone's reports, though the prepared tables have the ids."""
    ids = pq.read_table(clone.root / Layout(DATASET).splits)["raw_id"].to_pylist()
    assert all(raw_id.startswith(OURS) for raw_id in ids)
    assert OURS not in printed, printed
    for path in clone.files("reports").values():
        assert OURS not in path.read_text(encoding="utf-8"), path


def test_stages_that_read_ids_of_users_print_and_report_none(pipeline, tmp_path):
    clone, command = alone(pipeline.clone, "prepare", tmp_path / "prepare")
    name_users(clone)
    done = clone.run(*command)
    check_no_user_is_named(clone, done.stdout + done.stderr)
    assert "users below 20" in done.stdout, "their counts are told"
    shutil.copytree(pipeline.clone.root / "prorl", clone.root / "prorl", dirs_exist_ok=True)
    unknown = clone.run(
        "python",
        "-m",
        "prorl.cli",
        "guide",
        "--user",
        "nobody",
        "--target",
        "Fargo (1996)",
        "--policy",
        str(pipeline.clone.root / f"models/released/{DATASET}/prorl"),
        check=False,
    )
    assert "--user: got 'nobody'" in unknown.stderr
    assert OURS not in unknown.stdout + unknown.stderr


@pytest.mark.slow
def test_no_stage_prints_or_reports_an_id_of_a_user(pipeline, tmp_path):
    clone = clone_of(pipeline.clone, tmp_path / "clone")
    clone.dvc("pull")
    name_users(clone)
    done = clone.run("dvc", "repro", "--force", "--downstream", f"prepare@{DATASET}")
    assert stages_run(done.stdout) == pipeline.ran[pipeline.ran.index(f"prepare@{DATASET}") :]
    check_no_user_is_named(clone, done.stdout + done.stderr)
