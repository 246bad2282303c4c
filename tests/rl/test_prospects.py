"""What could come next: its rewards against the simulator's of paths written out, and the gradient of its
expectation against that over all paths.
"""

import pytest
import torch

from prorl.config.finetune import KL, Expected
from prorl.config.section import ConfigError
from prorl.devices import accelerator
from prorl.policy.catalogue import Paths
from prorl.rl.advantages import acting, against_others, reward_to_go
from prorl.rl.estimators import OfRewards
from prorl.rl.learner import Learner
from prorl.rl.passes import in_passes, pass_loss
from prorl.rl.prefixes import Candidates, likeliest, prefixes_of
from prorl.rl.prospects import Prospects, candidate_rewards, gains, shares
from prorl.rl.rewards import REWARDS, RatedPaths, rewards_with, step_rewards
from prorl.rl.rollouts import draw
from prorl.rl.step import take_step
from prorl.rl.values import values_by_reward
from tests.policy import naive
from tests.rl.short_runs import N_ITEMS, WORDS, LikesEvenItems, a_learner, run, some_prompts
from tests.tiny_models import FINETUNE, prompts_of, random_catalogue, random_policy, random_simulator

NO_KL = KL(estimator="exact", coefficient=0.0, target=None)


def test_gains_by_hand():
    # Two items with probabilities .5 and .1, and the stop with .4; then one item with .25, and no stop.
    candidates = Candidates(
        torch.tensor([[3, 4], [5, 0]]),
        torch.tensor([[[0.5], [0.1]], [[0.25], [0.0]]]).log(),
        torch.tensor([0.4, 0.0]).log(),
    )
    mean, gain = gains(candidates, torch.tensor([[2.0, -1.0], [3.0, 77.0]]))
    assert mean.tolist() == pytest.approx([0.9, 3.0])
    assert gain.flatten().tolist() == pytest.approx([1.1, -1.9, 0.0, 0.0])


@pytest.mark.parametrize("simulator", ["SASRec", "GRU4Rec"])
@pytest.mark.parametrize("forbid", [[], ["repeats", "history", "target"]])
def test_rewards_of_candidates_are_those_of_the_paths_that_they_end(simulator, forbid):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid)
    policy, users, prompts = random_policy(catalogue), random_simulator(N_ITEMS, simulator), some_prompts(5)
    paths = draw(policy, catalogue, prompts, 6, 1.0, seed=1)
    prefixes = prefixes_of(paths.items, acting(paths.length, 4))
    candidates = likeliest(policy, catalogue, prompts, prefixes, 3, 1.0)
    scores, words = (
        users.score(prompts.history, paths.items, prompts.target),
        torch.from_numpy(WORDS.view("i8")),
    )
    rated, names = RatedPaths(paths.items, prompts.target, scores, words), list(REWARDS)
    found = list(candidate_rewards(users, prompts, rated, prefixes, candidates, names))
    assert len(found) == len(prefixes) == 4
    for t, (level, own, rewards) in enumerate(zip(prefixes, candidates, found, strict=True)):
        written = torch.cat(
            [
                paths.items.flatten(0, 1)[level.rollout, :t][:, None].expand(-1, own.items.shape[1], -1),
                own.items[..., None],
            ],
            dim=2,
        )
        history, target = prompts.history[level.prompt], prompts.target[level.prompt]
        scores = users.score(history, written, target)
        expected = step_rewards(RatedPaths(written, target, scores, words), names)
        assert torch.equal(rewards.repeated, expected.repeated)
        for name in names:
            torch.testing.assert_close(
                rewards.values[name][..., -1], expected.values[name][..., -1], rtol=1e-3, atol=1e-4
            )


def expected_gradient(learner, prompts, paths, to_go, acts, prospects, probability):
    """The mean over paths [p, 1, t] of the gradient of each one's loss."""
    if prospects is not None:
        to_go = to_go - prospects.brought
    advantages = learner.estimator.advantages(to_go, acts)
    total = 0.0
    for p in range(len(paths.length)):
        own = torch.tensor([p])
        ahead = None if prospects is None else prospects[own]
        (part,) = in_passes(
            learner.catalogue, prompts, paths[own], to_go[own], acts[own], advantages[own],
            torch.tensor([True]), ahead,
        )  # fmt: skip
        total = total + probability[p] * pass_loss(learner, part, 1).loss
    weights = list(learner.policy.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, weights, allow_unused=False)])


@pytest.mark.parametrize("n_items", [1, 2, 3])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_token_by_token_the_expected_gradient_stays_as_it_is(n_items, share):
    """Items of two tokens, over some of the likeliest and over all; every path is enumerated."""
    catalogue = random_catalogue(
        6, forbid=["repeats", "history", "target"], max_length=2, n_levels=2, codebook_size=3
    )
    prompts = prompts_of(torch.tensor([[1, 4, 4]]), torch.tensor([6]))
    every = naive.allowed_paths(catalogue, prompts.history[0], prompts.target[0])
    items = torch.tensor([path + [0] * (2 - len(path)) for path in every])[:, None]
    length = (items != 0).sum(-1)
    nothing = torch.zeros(len(items), 1, 4, dtype=torch.int64)
    paths, acts = Paths(items, length, nothing, nothing[..., :3].float()), acting(length, 2)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 7, generator=generator) for n in (1, 7))
    rewards = torch.stack([first[0, items[..., 0]], second[items[..., 0], items[..., 1]]], dim=-1)
    to_go = reward_to_go(rewards * (items != 0), 1.0)

    def learner_of(estimator):
        settings = FINETUNE.replace(kl=NO_KL, estimator=estimator, expected=Expected(items=n_items))
        policy = random_policy(catalogue, seed=2)
        return Learner.of(
            accelerator("float32"), policy, catalogue, random_simulator(6), WORDS[:7], settings, seed=5
        )

    learner = learner_of("expected")
    repeated = prompts[torch.zeros(len(items), dtype=torch.int64)]
    prefixes = prefixes_of(items, acts)
    candidates = likeliest(learner.policy, catalogue, repeated, prefixes, n_items, 1.0)
    values = [first[0][candidates[0].items], second[prefixes[1].item[:, None], candidates[1].items]]
    prospects = Prospects.of(items, prefixes, candidates, values)
    prospects = prospects.with_share(torch.full((1, 1, 1), share))
    assert candidates[0].items.shape[1] == n_items

    log_prob = torch.tensor(
        [
            sum(
                naive.action_log_probs(learner.policy, catalogue, prompts.history[0], prompts.target[0], path)
            )
            for path in every
        ]
    )
    probability = log_prob.exp()
    assert probability.sum().item() == pytest.approx(1.0, abs=1e-5)
    arguments = prompts, paths, to_go, acts
    true = expected_gradient(learner_of("reward_to_go"), *arguments, None, probability)
    found = expected_gradient(learner, *arguments, prospects, probability)
    torch.testing.assert_close(found, true, rtol=1e-3, atol=1e-5)
    assert true.norm() > 0.1
    one = torch.zeros_like(probability).index_fill_(0, torch.tensor([3]), 1.0)
    of_one = [
        expected_gradient(learner_of("reward_to_go"), *arguments, None, one),
        expected_gradient(learner, *arguments, prospects, one),
    ]
    assert (of_one[0] - of_one[1]).norm() > 0.1


def prospects_with(mean, own_gain):
    """Prospects of actions with that r_ and h of their own, all [b, m, t+1]."""
    nothing = torch.zeros_like(mean)
    ids = nothing.long()
    return Prospects(
        ids[..., None], nothing[..., None, None], nothing[..., None], nothing, ids, mean, own_gain
    )


def test_the_share_is_that_of_the_other_prompts_least_squares():
    generator = torch.Generator().manual_seed(0)
    mean, gain, noise = (torch.randn(6, 8, 3, generator=generator).double() for _ in range(3))
    acts = torch.ones(6, 8, 3, dtype=torch.bool)
    acts[:, :, 2] = False
    acts[0, :, 2] = True  # the first prompt alone acts at the last position
    slope = torch.tensor([0.3, -0.5, 0.3])
    to_go = mean + slope * gain + 0.01 * noise
    share = shares(to_go, acts, prospects_with(mean, gain))
    assert share.shape == (6, 1, 3)
    assert share[:, 0, 1].eq(0).all()  # never below 0
    assert share[0, 0, 2] == 1  # the others say nothing
    rest = against_others(to_go - mean, acts)
    for b in range(6):
        others = [i for i in range(6) if i != b]
        x, y = gain[others, :, 0].flatten(), rest[others, :, 0].flatten()
        assert share[b, 0, 0].item() == pytest.approx((x @ y / (x @ x)).item())
    changed = to_go.clone()
    changed[2] += 5 * gain[2]
    again = shares(changed, acts, prospects_with(mean, gain))
    torch.testing.assert_close(share[2], again[2])  # it does not depend on a prompt's own
    assert (share[1, 0, 0] - again[1, 0, 0]).abs() > 0.1


@pytest.mark.parametrize("normalise", ["none", "per_reward"])
def test_what_a_likely_item_brings_is_what_its_step_is_worth(monkeypatch, normalise):
    """Over as many items as there are, r_ + h of an action is its own step's value."""
    found = []
    monkeypatch.setattr(
        "prorl.rl.step.shares",
        lambda to_go, acts, prospects: found.append((to_go, acts, prospects)) or torch.ones(1, 1, 1),
    )
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats"], codebook_size=32, n_levels=1)
    weights = {"ctr": 0.0, "ioi": 2.0, "ior": 0.0}
    settings = FINETUNE.replace(
        estimator="expected", expected=Expected(items=32), normalise=normalise, weights=weights
    )
    learner = a_learner(settings, catalogue=catalogue)
    take_step(learner, some_prompts(), centering=True, seed=1)
    ((to_go, acts, prospects),) = found
    before = a_learner(settings, catalogue=catalogue).policy
    paths = draw(before, catalogue, some_prompts(), 4, 1.0, seed=1)
    assert torch.equal(prospects.taken[..., :-1], paths.items)
    if normalise == "none":
        values = -to_go.diff(dim=-1)
        acts = acts[..., :-1]
        torch.testing.assert_close(prospects.brought[..., :-1][acts], values[acts], rtol=1e-3, atol=1e-3)
    else:
        raw = step_rewards(learner.rated(some_prompts(), paths.items), rewards_with(weights))
        values = values_by_reward(learner, raw)["ioi"]
        scale = (prospects.brought[..., :-1] / values)[paths.items > 0]
        first = (prospects.brought[..., 0] / values[..., 0])[:, :]
        torch.testing.assert_close(first, first[:, :1].expand(-1, 4), rtol=1e-2, atol=1e-3)
        assert scale.max() / scale.min() > 1.5  # another for each prompt and position


def test_the_expectation_raises_the_reward(tmp_path):
    settings = FINETUNE.replace(
        estimator="expected",
        weights={"ctr": 1.0},
        select_on={"ctr": 1.0},
        steps=20,
        n_rollouts=8,
        learning_rate=1e-2,
        centering_steps=2,
    )
    _, result, rows = run(tmp_path, settings)
    assert result["validation"]["ctr"] > result["validation_initial"]["ctr"] + 0.1
    assert all(row["values"]["train/gradient_norm"] > 0 for row in rows[1:])


def test_a_simulator_that_does_not_branch_is_an_error(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"params\.yaml: finetune\.estimator: expected: got simulator 'SASRec' \(LikesEvenItems\), "
        r"allowed: one with states and branching",
    ):
        run(tmp_path, FINETUNE.replace(estimator="expected"), LikesEvenItems())


class Outlook:
    """An estimator of one's own that asks for an expectation, and knows nothing else of it."""

    warmup_steps, loss_name, coefficient, n_items_expected = 0, None, 0.0, 2

    def __init__(self, settings, d_model, seed, device):
        self.given = []

    def advantages(self, to_go, acts):
        self.given.append(to_go)
        return to_go * acts

    def read(self, states, to_go, acts):
        return torch.zeros(()), torch.zeros(())

    def step(self, run, gradient_clip):
        pass

    def tensors(self):
        return {}

    def restore(self, tensors):
        pass


def test_an_estimator_from_outside_may_ask_for_an_expectation(monkeypatch):
    learner = a_learner(FINETUNE.replace(estimator=f"{__name__}:Outlook"))
    take_step(learner, some_prompts(), centering=True, seed=1)
    (given,) = learner.estimator.given
    given_whole = []

    def remember(self, to_go, acts):
        given_whole.append(to_go)
        return to_go * acts

    monkeypatch.setattr(OfRewards, "advantages", remember)
    take_step(a_learner(FINETUNE), some_prompts(), centering=True, seed=1)
    assert (given - given_whole[0])[..., 0].abs().min() > 1e-4


@pytest.mark.parametrize("changes", [{"updates_per_rollout": 2}, {"item_log_prob": "mean"}])
def test_where_there_is_no_such_expectation_it_is_an_error(changes):
    settings = FINETUNE.replace(estimator=f"{__name__}:Outlook", **changes)
    with pytest.raises(
        ConfigError, match=r"estimator: tests\S+:Outlook: allowed where decoding\.constrained"
    ):
        a_learner(settings)


def test_decoding_that_is_not_constrained_has_no_such_expectation():
    catalogue = random_catalogue(N_ITEMS, constrained=False, min_length=0)
    with pytest.raises(
        ConfigError, match=r"estimator: expected: allowed where decoding\.constrained is true"
    ):
        a_learner(FINETUNE.replace(estimator="expected"), catalogue=catalogue)
