"""A policy that is told how much acceptance counts."""

from dataclasses import replace

import pytest
import torch

from prorl.config.policy import Policy, ctr_factor
from prorl.config.section import ConfigError, build
from prorl.policy.checkpoints import load_policy, save_policy
from prorl.policy.guide import PolicyGuide
from tests.policy.test_checkpoints import write_ids
from tests.tiny_models import PARAMS, random_catalogue, random_policy, random_prompts, some_prompts

N_ITEMS = 30
TOLD = {"acceptances": (0.0, 0.5, 1.0), "acceptance": 0.5}


def told_catalogue(target_tokens="separate"):
    return replace(random_catalogue(N_ITEMS, target_tokens=target_tokens), **TOLD)


@pytest.mark.parametrize("target_tokens", ["shared", "separate"])
def test_each_acceptance_has_a_token_of_its_own_at_the_end_of_the_prompt(target_tokens):
    plain = random_catalogue(N_ITEMS, target_tokens=target_tokens)
    told = told_catalogue(target_tokens)
    assert told.n_ids == plain.n_ids + 3
    history, target = random_prompts(4, N_ITEMS)
    without = plain.prompt_tokens(history, target)
    for index, acceptance in enumerate(told.acceptances):
        tokens = told.at(acceptance).prompt_tokens(history, target)
        assert torch.equal(tokens[:, :-1], without[:, :-1])
        assert tokens[:, -1].tolist() == [plain.n_ids + index] * 4
    assert torch.equal(told.prompt_tokens(history, target), told.at(0.5).prompt_tokens(history, target))


def test_what_cannot_be_told_is_an_error():
    with pytest.raises(ConfigError, match=r"acceptance: got 0\.3, allowed: one of \[0\.0, 0\.5, 1\.0\]"):
        told_catalogue().at(0.3)
    with pytest.raises(ConfigError, match=r"acceptance: got 0\.5, allowed: null"):
        random_catalogue(N_ITEMS).at(0.5)
    assert random_catalogue(N_ITEMS).at(None).acceptance is None


def test_every_other_step_is_told_the_headline_and_the_others_take_turns():
    assert [told_catalogue().acceptance_at(step) for step in range(1, 8)] == [0.5, 0, 0.5, 1, 0.5, 0, 0.5]
    assert {random_catalogue(N_ITEMS).acceptance_at(step) for step in range(1, 8)} == {None}
    alone = replace(told_catalogue(), acceptances=(0.5,))
    assert {alone.acceptance_at(step) for step in range(1, 8)} == {0.5}


def test_weights_of_ctr_grow_sixteenfold_from_end_to_end():
    assert ctr_factor(1.0, 0.0) == 16
    assert ctr_factor(0.5, 0.5) == 1
    assert ctr_factor(0.25, 0.75) == 0.25


def test_a_saved_policy_knows_what_it_can_be_told(tmp_path):
    catalogue = told_catalogue()
    write_ids(tmp_path / "ids", catalogue)
    save_policy(tmp_path / "policy", random_policy(catalogue), catalogue, tmp_path / "ids")
    _, loaded = load_policy(tmp_path / "policy")
    assert (loaded.acceptances, loaded.acceptance) == (catalogue.acceptances, 0.5)


def test_a_guide_writes_other_paths_where_it_is_told_something_else():
    catalogue = told_catalogue()
    policy = random_policy(catalogue)
    with torch.no_grad():  # what is told is heard
        policy.shared.weight[-3:] *= 30
    guide, prompts = PolicyGuide(policy, catalogue), some_prompts(20, N_ITEMS)
    assert torch.equal(guide.paths(prompts), guide.told(0.5).paths(prompts))
    assert not torch.equal(guide.told(0.0).paths(prompts), guide.told(1.0).paths(prompts))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acceptances": [0.5, 0.0]}, "acceptances: got [0.5, 0.0], allowed: each once, in ascending order"),
        ({"acceptances": [0.5, 0.5]}, "acceptances: got [0.5, 0.5], allowed: each once, in ascending order"),
        (
            {"acceptances": [0.5], "acceptance": 0.4},
            "acceptance: got 0.4, allowed: one of policy.acceptances",
        ),
        (
            {"acceptances": [0.5], "acceptance": None},
            "acceptance: got None, allowed: one of policy.acceptances",
        ),
        ({"acceptances": [], "acceptance": 0.5}, "acceptance: got 0.5, allowed: null where"),
        ({"acceptances": [1.5], "acceptance": 1.5}, "acceptances[0]: got 1.5"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other(changes, message):
    values = {**PARAMS.values(Policy, "ml-100k"), "acceptances": [0.5], "acceptance": 0.5, **changes}
    with pytest.raises(ConfigError) as error:
        build(Policy, values, "policy", "params.yaml")
    assert message in str(error.value)
