"""The stages fetch, prepare and mine as processes.

Real data give tables; wrong data give one clear line and no output.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from prorl.config.sections import SECTIONS
from prorl.files import read_json, sha256_of
from prorl.instances import read_instances
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS, read_frame

ROOT = Path(__file__).parents[2]


class Workplace:
    """A folder with a params.yaml of one data set in which stages run."""

    def __init__(self, folder, dataset, archives=None, **sections):
        self.folder, self.dataset = folder, dataset
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.environment.pop("PRORL_ARCHIVES", None)
        if archives:
            self.environment["PRORL_ARCHIVES"] = str(archives)
        yaml = YAML(typ="safe")
        params = yaml.load(ROOT / "params.yaml")
        for name in [name for name, kind in SECTIONS.items() if kind.per_data_set]:
            own = params[name].get(dataset, {})
            for known in params["datasets"]:
                del params[name][known]
            params[name][dataset] = sections.get(name, own)
        params["datasets"] = [dataset]
        with open(folder / "params.yaml", "w") as stream:
            yaml.dump(params, stream)

    def run(self, *stages):
        for stage in stages:
            command = [sys.executable, ROOT / "stages" / f"{stage}.py", self.dataset]
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr

    def refusal(self, stage):
        """What a stage says that must fail."""
        command = [sys.executable, ROOT / "stages" / f"{stage}.py", self.dataset]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    def files(self, under):
        return sorted(
            str(path.relative_to(self.folder)) for path in (self.folder / under).rglob("*") if path.is_file()
        )


def test_movielens_100k_from_package_to_instances(tmp_path):
    workplace = Workplace(tmp_path, "ml-100k")
    workplace.run("fetch", "prepare", "mine")
    prepared = tmp_path / "data/prepared/ml-100k"
    interactions = read_frame(prepared / "interactions.parquet", INTERACTIONS)
    items = read_frame(prepared / "items.parquet", ITEMS)
    splits = read_frame(prepared / "splits.parquet", USER_SPLITS)
    assert (len(interactions), len(items), len(splits)) == (94443, 937, 917)
    assert interactions["user"].value_counts().min() >= 20
    assert interactions["item"].value_counts().min() >= 20
    assert interactions.equals(interactions.sort_values(["user", "timestamp"], kind="stable"))
    assert items["item"].tolist() == list(range(1, 938))
    assert "unknown" not in {name for names in items["attributes"] for name in names}
    assert {"Sci-Fi", "Film-Noir", "Children's"} <= {name for names in items["attributes"] for name in names}
    statistics = read_json(tmp_path / "reports/ml-100k/mine.json")
    split_of = dict(zip(splits["user"], splits["split"], strict=True))
    met = interactions.groupby("user")["item"].agg(set)
    for split in ("train", "validation", "test"):
        instances = read_instances(tmp_path / f"data/instances/ml-100k/{split}.parquet")
        assert len(instances) == statistics["instances"][split] > 1000
        assert instances.history.shape[1] == 10
        assert (instances.length.min(), instances.length.max()) == (2, 10)
        assert {split_of[user] for user in instances.user} == {split}
        if split != "train":
            assert not any(
                target in met[user]
                for user, target in zip(instances.user, instances.random_target, strict=True)
            )
    first = {path: sha256_of(tmp_path / path) for path in workplace.files("data")}
    workplace.run("fetch", "prepare", "mine")
    assert first == {path: sha256_of(tmp_path / path) for path in workplace.files("data")}


@pytest.mark.skipif(
    "PRORL_ARCHIVES" not in os.environ, reason="PRORL_ARCHIVES does not name a folder with MovieLens-1M"
)
def test_movielens_1m_has_the_published_sizes(tmp_path):
    drama = {"ignored_attributes": ["Drama"]}
    workplace = Workplace(tmp_path, "ml-1m", os.environ["PRORL_ARCHIVES"], mine=drama)
    workplace.run("fetch", "prepare", "mine")
    kept = read_json(tmp_path / "reports/ml-1m/prepare.json")["kept"]
    assert kept == {"users": 6022, "items": 3043, "interactions": 995154}
    statistics = read_json(tmp_path / "reports/ml-1m/mine.json")
    assert statistics["runs_by_length"]["2"] == 41710
    assert sum(statistics["instances"].values()) == 70562
    runtime = read_json(tmp_path / "reports/ml-1m/runtime.json")
    assert runtime["prepare@ml-1m"]["seconds"] + runtime["mine@ml-1m"]["seconds"] < 10


def own_tables(folder, log):
    """A user's own catalogue of 40 things in 4 colours, and the log given as lines."""
    folder.mkdir()
    (folder / "interactions.csv").write_text("user,item,timestamp\n" + log)
    colours = ["red", "green", "blue", "red|blue"]
    (folder / "items.tsv").write_text(
        "item\ttitle\tattributes\n" + "".join(f"t{i}\tThing {i}\t{colours[i % 4]}\n" for i in range(40))
    )
    return {
        "fetch": {"source": "tabular", "archive": str(folder)},
        "prepare": {
            "min_user_interactions": 3,
            "min_item_interactions": 3,
            "attributes": ["attributes"],
            "profile": ["{title}", "{attributes}"],
        },
    }


def busy_log():
    generator = np.random.default_rng(0)
    return "".join(
        f"u{generator.integers(60)},t{generator.integers(40)},2024-01-01T00:{i // 60:02}:{i % 60:02}\n"
        for i in range(3000)
    )


def test_a_users_own_tables_under_a_name_of_their_own(tmp_path):
    workplace = Workplace(tmp_path, "shop", **own_tables(tmp_path / "mine", busy_log()))
    workplace.run("fetch", "prepare", "mine")
    assert read_json(tmp_path / "reports/shop/prepare.json")["kept"] == {
        "interactions": 3000,
        "users": 60,
        "items": 40,
    }
    assert len(read_instances(tmp_path / "data/instances/shop/train.parquet")) > 100
    assert pq.read_schema(tmp_path / "data/instances/shop/test.parquet").names == [
        "user",
        "history",
        "run",
        "random_target",
    ]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (
            "u1,t1,1\nu2,t2\n",
            r"prepare@shop: data/raw/shop/interactions.csv: line 3: 2 values, allowed: 3; found 'u2,t2'",
        ),
        ("u1,t1,1\nu2,t2,2\n", "prepare@shop: nothing is left of 2 interactions; dropped were"),
    ],
)
def test_bad_logs_leave_no_output(tmp_path, log, message):
    workplace = Workplace(tmp_path, "shop", **own_tables(tmp_path / "mine", log))
    workplace.run("fetch")
    assert message in workplace.refusal("prepare")
    assert workplace.files("data/prepared") == []
    assert workplace.files("reports") == ["reports/shop/runtime.json"]


def test_users_who_all_have_short_sequences_leave_no_instances(tmp_path):
    log = "".join(f"u{u},t{t},{t}\n" for u in range(30) for t in range(8))
    workplace = Workplace(tmp_path, "shop", **own_tables(tmp_path / "mine", log))
    workplace.run("fetch", "prepare")
    said = workplace.refusal("mine")
    assert (
        "instances mined per split: {'train': 0, 'validation': 0, 'test': 0}, allowed: at least one in each"
        in said
    )
    assert "'users_shorter_than_history': 30" in said
    assert workplace.files("data/instances") == []


def test_unknown_data_set_and_missing_archive_leave_no_output(tmp_path):
    assert "fetch.netflix.source: data set 'netflix' has source 'netflix', allowed: ml-100k" in Workplace(
        tmp_path, "netflix"
    ).refusal("fetch")
    workplace = Workplace(tmp_path, "shop", fetch={"source": "tabular", "archive": "gone.zip"})
    assert "fetch@shop: gone.zip: no such file or folder" in workplace.refusal("fetch")
    assert "run the fetch stage first" in workplace.refusal("prepare")
    assert workplace.files("data") == []
