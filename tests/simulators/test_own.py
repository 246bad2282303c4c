"""A simulator from outside the library: a module of the user's, named in params.yaml."""

import copy
import importlib.util
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from prorl.config.section import ConfigError
from prorl.config.simulator import Simulator
from prorl.errors import DataError
from prorl.evaluation.judge import Judge
from prorl.files import read_json
from prorl.params import Params
from prorl.prompts import Prompts
from prorl.simulators.protocol import branching, ranking, vectors_of
from prorl.simulators.registry import SIMULATORS, Own, own_class, simulator_entry
from prorl.simulators.scoring import load_simulator
from prorl.simulators.training import _ranks_by_score, last_item_ranks
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS, write_table
from tests.tiny_models import (
    PARAMS,
    random_instances,
    random_paths,
    random_simulator,
    sequences_of,
)
from tools.stage_dependencies import ROOT

N_ITEMS, DATASET = 8, "ml-100k"
POPULARITY = '''
import numpy as np
import torch
from prorl.simulators.protocol import Scores

class Popularity:
    """Takes every item with the same chances, whoever the user is."""

    def __init__(self, counts):
        self.n_items, self.counts = len(counts), torch.tensor(counts)

    @classmethod
    def fit(cls, train, validation, n_items, settings, seed):
        return cls(np.bincount(train.items, minlength=n_items + 1)[1:] + settings["smoothing"])

    def save(self, folder):
        np.save(folder / "config.npy", self.counts.numpy())

    @classmethod
    def load(cls, folder):
        return cls(np.load(folder / "config.npy"))

    def score(self, history, path, target, *, ends=False):
        b, m, t = path.shape
        own = self.counts[target - 1]
        columns = 2 if ends else t + 1
        log_prob = (own / self.counts.sum()).log()[:, None, None].expand(b, m, columns)
        rank = 1 + (self.counts > own[:, None]).sum(1)[:, None, None].expand(b, m, columns)
        share = self.counts / self.counts.sum()
        return Scores(log_prob, rank, share[path.clamp(min=1) - 1] * (path > 0))
'''


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Params with the user's simulator `Mine`, a module of which lies in the working folder."""
    (tmp_path / "a_users_module.py").write_text(POPULARITY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_users_module", raising=False)
    return with_own({"class": "a_users_module:Popularity", "settings": {"smoothing": 0.5}})


def with_own(settings):
    raw = copy.deepcopy(PARAMS.raw)
    raw["simulator"]["Mine"] = settings
    return Params(PARAMS.heads, raw, "params.yaml")


def stage(name="simulator"):
    """The script of a stage as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_stage", ROOT / f"stages/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_prepared(folder, n_items=N_ITEMS):
    """Interactions of 12 users, of whom the last four validate and test."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 13), 6)
    chances = np.arange(1, n_items + 1)
    items = rng.choice(n_items, 72, p=chances / chances.sum()) + 1
    rows = {"user": users, "item": items, "timestamp": np.tile(np.arange(6), 12)}
    write_table(folder / "interactions.parquet", pa.table(rows).cast(INTERACTIONS), INTERACTIONS)
    split = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    named = {"user": np.arange(1, 13), "raw_id": [str(i) for i in range(12)], "split": split}
    write_table(folder / "splits.parquet", pa.table(named).cast(USER_SPLITS), USER_SPLITS)
    table = [
        {"item": i, "raw_id": str(i), "title": "", "attributes": [], "text": ""}
        for i in range(1, n_items + 1)
    ]
    write_table(folder / "items.parquet", pa.Table.from_pylist(table, schema=ITEMS), ITEMS)
    return items[:48]


def test_it_is_trained_saved_loaded_and_judges_through_the_stage(params, tmp_path):
    items = write_prepared(tmp_path / "data/prepared" / DATASET)
    stage().body(params, DATASET, "Mine")
    folder = tmp_path / "models/simulators" / DATASET / "Mine"
    own = own_class(params, DATASET, "Mine")
    assert read_json(folder / "config.json") == {"class": own, "name": "Mine"}
    metrics = read_json(tmp_path / "reports" / DATASET / "simulator/Mine.json")
    assert metrics["n_items"] == N_ITEMS
    for split in ("validation", "test"):
        assert metrics[split] == metrics["popularity"][split]
    curve = tmp_path / "reports" / DATASET / "curves/simulator/Mine/plots/metrics/validation/mrr@10.tsv"
    assert float(curve.read_text().split()[-1]) == pytest.approx(metrics["validation"]["mrr@10"])

    loaded = load_simulator(folder, own)
    assert type(loaded).__name__ == "Popularity"
    assert loaded.counts.tolist() == (np.bincount(items, minlength=N_ITEMS + 1)[1:] + 0.5).tolist()
    prompts = Prompts.of(random_instances(3, N_ITEMS)[0])
    words = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
    paths = random_paths(len(prompts), 1, 3, N_ITEMS, min_length=1)[:, 0]
    judged = Judge(prompts, {"Mine": loaded}, words, 3, 30, 2, 7).metrics(paths)["Mine"]
    assert judged["ioi"].tolist() == [0.0] * len(prompts)
    share = loaded.counts / loaded.counts.sum()
    expected = [float(share[row[row > 0] - 1].mean()) for row in paths]
    assert judged["ctr"] == pytest.approx(expected)


def test_a_folder_names_no_class_that_is_imported(params, tmp_path):
    write_prepared(tmp_path / "data/prepared" / DATASET)
    stage().body(params, DATASET, "Mine")
    folder = tmp_path / "models/simulators" / DATASET / "Mine"
    with pytest.raises(DataError, match=r"config\.json: name: got 'Mine', allowed: SASRec, GRU4Rec"):
        load_simulator(folder)
    with pytest.raises(DataError, match=r"class: got 'a_users_module:Popularity', allowed: 'other:Class'"):
        load_simulator(folder, "other:Class")


def test_an_entry_of_the_registry_may_be_such_a_class(params, monkeypatch, tmp_path):
    entry = simulator_entry(params, DATASET, "Mine")
    assert isinstance(entry, Own)
    monkeypatch.setitem(SIMULATORS, "Mine", entry)
    write_prepared(tmp_path / "data/prepared" / DATASET)
    stage().body(params, DATASET, "Mine")
    folder = tmp_path / "models/simulators" / DATASET / "Mine"
    assert read_json(folder / "config.json") == {"class": None, "name": "Mine"}
    assert load_simulator(folder).n_items == N_ITEMS


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a_users_module", "got 'a_users_module', allowed: module:Class"),
        (
            "nowhere:Class",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere'; allowed: module:Class",
        ),
        ("a_users_module:Other", "but a_users_module has no 'Other'; allowed: module:Class"),
        (
            "a_users_module:Scores",
            "without fit, save, load, score, allowed: a class with fit, save, load, score",
        ),
    ],
)
@pytest.mark.usefixtures("params")
def test_a_class_that_is_none_is_one_line(path, message):
    with pytest.raises(ConfigError, match=r"^params\.yaml: simulator\.Mine\.class: got ") as error:
        simulator_entry(with_own({"class": path, "settings": {}}), DATASET, "Mine")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_simulator_is_one_line_that_names_the_known(params):
    with pytest.raises(
        ConfigError,
        match="simulators: got 'Pop', allowed: SASRec, GRU4Rec, BERT4Rec, LightSANs, or your own",
    ):
        simulator_entry(params, DATASET, "Pop")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochz", 3, "simulator.epochz: unknown key; did you mean 'epochs'?"),
        ("SASRek", {"n_layers": 2}, "simulator.SASRek: unknown key; did you mean 'SASRec'?"),
        ("Mine", {"class": "a:B"}, "simulator.Mine.settings: missing"),
        ("Mine", {"class": 3, "settings": {}}, "simulator.Mine.class: got 3 (int), allowed: text"),
        ("Mine", {"class": "a:B", "settings": 3}, "simulator.Mine.settings: got 3 (int), allowed: a mapping"),
        (
            "Mine",
            {"class": "a:B", "settings": {}, "setings": {}},
            "simulator.Mine.setings: unknown key; did you mean 'settings'?",
        ),
    ],
)
def test_a_mistake_in_a_further_key_is_one_line(key, value, message):
    raw = copy.deepcopy(PARAMS.raw)
    raw["simulator"][key] = value
    assert Params(PARAMS.heads, raw, "params.yaml").mistakes(Simulator) == [f"params.yaml: {message}"]


def test_settings_replaced_keep_the_users_own(params):
    settings = params.section(Simulator).replace(epochs=3)
    assert settings.epochs == 3
    assert settings.Mine.settings == {"smoothing": 0.5}


def test_a_training_goes_on_whatever_becomes_of_the_sizes_of_other_simulators(params):
    settings = params.section(Simulator)
    sizes = settings.GRU4Rec.replace(hidden_size=settings.GRU4Rec.hidden_size + 1)
    others = settings.replace(GRU4Rec=sizes, Mine={"class": "a:B", "settings": {}})
    assert others.read_by("SASRec") == settings.read_by("SASRec")
    for name in ("GRU4Rec", "Mine"):
        assert others.read_by(name) != settings.read_by(name)
    longer = settings.replace(epochs=settings.epochs + 1)
    assert longer.read_by("SASRec") != settings.read_by("SASRec")


def test_fit_must_give_as_many_items_as_there_are(params, tmp_path, monkeypatch):
    write_prepared(tmp_path / "data/prepared" / DATASET)
    kind = simulator_entry(params, DATASET, "Mine").kind
    monkeypatch.setattr(kind, "fit", classmethod(lambda cls, *arguments: cls(np.ones(3))))
    with pytest.raises(DataError, match=r"simulator Mine: n_items of Popularity\.fit: got 3, allowed: 8"):
        stage().body(params, DATASET, "Mine")


def test_an_instance_that_was_fitted_elsewhere_is_judged_on_the_cpu(params, tmp_path, monkeypatch):
    write_prepared(tmp_path / "data/prepared" / DATASET)
    kind = simulator_entry(params, DATASET, "Mine").kind

    class Elsewhere(kind):
        device = "cuda"

        def to(self, device):
            self.device = str(device)
            return self

        def score(self, history, path, target, *, ends=False):
            assert self.device == str(history.device)
            return super().score(history, path, target, ends=ends)

    monkeypatch.setattr(sys.modules["a_users_module"], "Popularity", Elsewhere)
    stage().body(params, DATASET, "Mine")
    assert (tmp_path / "models/simulators" / DATASET / "Mine/own/config.npy").exists()


def test_what_cannot_branch_or_rank_is_refused_in_one_line(params):
    own = simulator_entry(params, DATASET, "Mine").kind(np.ones(3))
    with pytest.raises(
        ConfigError, match=r"pretrain\.simulator: got simulator 'Mine' \(Popularity\), allowed"
    ):
        branching(own, "Mine", "pretrain.simulator")
    with pytest.raises(ConfigError, match="allowed: one with item_scores"):
        ranking(own, "Mine", "simulators")
    with pytest.raises(ConfigError, match=r"reduce.simulator: .*allowed: one with item `vectors`"):
        vectors_of(own, "Mine", "reduce.simulator")
    for name in ("SASRec", "GRU4Rec"):
        simulator = random_simulator(5, name)
        assert branching(simulator, name, "pretrain.simulator") is simulator
        assert ranking(simulator, name, "simulators") is simulator
        assert vectors_of(simulator, name, "reduce.simulator") is simulator.vectors


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "BERT4Rec", "LightSANs"])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_ranks_of_last_items_are_those_by_score_alone(name, batch_size):
    simulator = random_simulator(N_ITEMS, name)
    sequences = sequences_of([1, 2, 3, 4], [5, 6], [7, 8, 1], [2, 4, 6, 8, 1, 3], [5, 1], [3])
    ranks = last_item_ranks(simulator, sequences, 4, batch_size)
    assert torch.equal(ranks, _ranks_by_score(simulator, sequences, 4, batch_size))
    assert len(set(ranks.tolist())) > 2
