"""What a simulator says of guided paths, and searches on it."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from prorl import extras
from prorl.bundle.policy import load_policy
from prorl.config.policy import ctr_factor
from prorl.config.pretrain import SearchWeights
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.guides.search import SearchGuide
from prorl.paths.mining import attribute_words
from prorl.simulators.scoring import load_simulator, save_simulator
from tests.bundle.made import HISTORY, SEARCH, catalogue_of, histories_of, make_bundle
from tests.tiny_models import SASREC, prompts_of, random_simulator, recbole_model


def numbers(items):
    return [item.item for item in items]


@pytest.fixture(scope="module")
def paths(policy):
    return [path for (path,) in policy.guide(histories_of(12, 30), "r20", temperature=1.0)]


def test_each_path_is_judged_as_the_simulator_scores_it(policy, released, paths):
    simulator = load_simulator(released / "simulator")
    assert len({len(path.history) for path in paths}) > 1
    for path, judged in zip(paths, policy.judged(paths), strict=True):
        scores = simulator.score(
            torch.tensor([numbers(path.history)]),
            torch.tensor([[numbers(path.items)]]),
            torch.tensor([path.target.item]),
        )
        assert judged.acceptance == pytest.approx(scores.acceptance[0, 0].tolist(), rel=1e-5)
        assert judged.target_probability == pytest.approx(scores.log_prob[0, 0].exp().tolist(), rel=1e-5)
        assert list(judged.target_rank) == scores.rank[0, 0].tolist()
        assert all(type(rank) is int for rank in judged.target_rank)
        assert judged.as_dict()["acceptance"] == list(judged.acceptance)


def test_another_simulator_may_judge(policy, paths, tmp_path):
    other = random_simulator(30, seed=5)
    save_simulator(
        tmp_path / "other", recbole_model("SASRec", 30, 20, seed=5), "SASRec", SASREC.model_dump(), 20
    )
    assert policy.judged(paths, tmp_path / "other") == policy.judged(paths, other)
    assert policy.judged(paths, other) != policy.judged(paths)
    save_simulator(tmp_path / "small", recbole_model("SASRec", 9, 20), "SASRec", SASREC.model_dump(), 20)
    with pytest.raises(DataError, match="small: got 9 items, allowed: the policy's 30"):
        policy.judged(paths, tmp_path / "small")


def test_a_search_is_the_guide_that_the_policy_learnt_from(policy, released):
    history = ["r1", "r2", "r3", "r4"]
    words = attribute_words(
        pa.array([list(item.attributes) for item in policy.items], pa.list_(pa.string())), ignored=[]
    )
    rules = catalogue_of(min_length=2, max_length=3).decoding.blocking(
        item.item for item in policy.items.with_attribute["Crime"]
    )
    guide = SearchGuide(
        load_simulator(released / "simulator"),
        rules,
        SEARCH["n_candidates"],
        SearchWeights(**SEARCH["weights"]),
        words,
    )
    prompts = prompts_of(torch.tensor([[1, 2, 3, 4]]), torch.tensor([20]))
    for acceptance, weighed in ((None, guide), (1.0, guide.weighing(ctr_factor(1.0, 0.5)))):
        (path,) = policy.search(history, "r20", length=(2, 3), avoid=["Crime"], acceptance=acceptance)
        assert numbers(path.items) == [item for item in weighed.paths(prompts)[0].tolist() if item]
        assert (set(path.propensities), path.stop_propensity) == ({1.0}, 1.0)


def test_searches_for_histories_of_any_length_in_their_order(policy):
    histories = histories_of(10, 30)
    together = policy.search(histories, "r20")
    assert together == [policy.search(history, "r20") for history in histories]
    assert max(len(path.history) for (path,) in together) == HISTORY
    assert len({len(path.history) for (path,) in together}) > 1


def test_a_search_finds_one_path(policy):
    with pytest.raises(ConfigError, match="n: got 2, allowed: 1"):
        policy.search(["r1"], "r20", n=2)


def test_without_a_simulator_one_must_be_named(tmp_path):
    policy = load_policy(make_bundle(tmp_path, catalogue_of(), simulator=False), "cpu")
    assert not policy.has_simulator
    (path,) = policy.guide(["r1"], "r20")
    with pytest.raises(ConfigError, match=r"judging paths: .* holds no simulator; name one"):
        policy.judged([path])
    (judged,) = policy.judged([path], random_simulator(30))
    assert np.isfinite(judged.target_probability).all()
    assert all(0 < a < 1 and math.isfinite(a) for a in judged.acceptance)


def test_settings_of_the_search_that_are_missing_are_named(copied):
    (copied / "params.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"params\.json: pretrain\.search: 'pretrain' is missing"):
        load_policy(copied, "cpu").search(["r1"], "r20")


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("pandas", 'judging paths needs the extra "pipeline": pip install "prorl\\[pipeline\\]"$'),
        ("recbole", "judging paths needs RecBole: pip install --no-deps recbole$"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(policy, paths, monkeypatch, absent, message):
    there = extras._is_there
    monkeypatch.setattr(extras, "_is_there", lambda package: package != absent and there(package))
    with pytest.raises(ConfigError, match=message):
        policy.judged(paths)


def test_a_package_within_one_that_is_not_installed_is_not_there():
    assert not extras._is_there("no_such_package.part")
    assert extras._is_there("ruamel.yaml")
    extras.need("pipeline", "this test")
