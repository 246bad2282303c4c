"""The loss of a step in its passes, against expectations over all paths and against loops over paths and
tokens.
"""

import copy
import math

import pytest
import torch

from prorl.config.finetune import A2C, KL
from prorl.devices import accelerator
from prorl.policy.catalogue import NO_TOKEN, Paths
from prorl.rl.advantages import acting, reward_to_go
from prorl.rl.centering import collected
from prorl.rl.learner import Learner
from prorl.rl.passes import in_passes, pass_loss
from prorl.rl.rewards import rewards_with, step_rewards
from prorl.rl.rollouts import draw
from prorl.rl.step import take_step
from tests.policy import naive
from tests.rl.short_runs import WORDS, some_prompts
from tests.tiny_models import FINETUNE, prompts_of, random_catalogue, random_policy, random_simulator


def gradient_of(learner, loss):
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, list(learner.policy.parameters()), retain_graph=True)]
    )


def losses_by_path(learner, prompts, paths, to_go, acts):
    """The loss of each single path [p, 1, t], as that of two rollouts that are both that path."""
    losses = []
    for p in range(len(paths.length)):
        twice = Paths(
            *(
                x[p : p + 1].repeat_interleave(2, dim=1)
                for x in (paths.items, paths.length, paths.tokens, paths.log_prob)
            )
        )
        own_to_go, own_acts = (x[p : p + 1].repeat_interleave(2, dim=1) for x in (to_go, acts))
        advantages = learner.estimator.advantages(own_to_go, own_acts)
        (part,) = in_passes(
            learner.catalogue, prompts, twice, own_to_go, own_acts, advantages, torch.tensor([True])
        )
        losses.append(pass_loss(learner, part, 2).loss)
    return torch.stack(losses)


def test_a_critics_baseline_leaves_the_expected_gradient_as_it_is():
    """Its values are read where nothing of the action they are the baseline of has been written yet."""
    catalogue = random_catalogue(
        6, forbid=["repeats", "history", "target"], max_length=2, n_levels=2, codebook_size=3
    )
    prompts = prompts_of(torch.tensor([[1, 4, 4]]), torch.tensor([6]))
    found = naive.allowed_paths(catalogue, prompts.history[0], prompts.target[0])
    items = torch.tensor([path + [0] * (2 - len(path)) for path in found])[:, None]
    length = (items != 0).sum(-1)
    paths = Paths(
        items, length, torch.zeros(len(items), 1, 4, dtype=torch.int64), torch.zeros(len(items), 1, 3)
    )
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(7, generator=generator), torch.randn(7, 7, generator=generator)
    rewards = torch.stack([first[items[..., 0]], second[items[..., 0], items[..., 1]]], dim=-1) * (items != 0)
    to_go = reward_to_go(rewards, 1.0)

    def learner_with(**changes):
        settings = FINETUNE.replace(kl=KL(estimator="exact", coefficient=0.0, target=None), **changes)
        return Learner.of(
            accelerator("float32"),
            random_policy(catalogue, seed=2),
            catalogue,
            random_simulator(6),
            WORDS[:7],
            settings,
            seed=5,
        )

    def expected_gradient(learner):
        losses = losses_by_path(learner, prompts, paths, to_go, acting(length, 2))
        return gradient_of(learner, (probability * losses).sum())

    without = learner_with(estimator="reward_to_go")
    # Advantages of 1 make the loss minus the log-probability of the path.
    log_prob = -losses_by_path(without, prompts, paths, torch.ones_like(to_go), acting(length, 2))
    probability = log_prob.detach().exp()
    assert probability.sum().item() == pytest.approx(1.0, abs=1e-5)
    true = gradient_of(without, -(log_prob.exp() * to_go[:, 0, 0]).sum())
    critic = learner_with(estimator="a2c", a2c=A2C(hidden_size=8, warmup_steps=0, coefficient=1e-30))
    with torch.no_grad():
        critic.estimator.critic.layers[-1].weight.mul_(30)  # values that differ from state to state
    torch.testing.assert_close(expected_gradient(without), true, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(expected_gradient(critic), true, rtol=1e-3, atol=1e-5)
    assert true.norm() > 0.1
    single = [
        gradient_of(x, losses_by_path(x, prompts, paths, to_go, acting(length, 2))[0])
        for x in (without, critic)
    ]
    assert (single[0] - single[1]).norm() > 0.1


def test_a_step_of_the_released_recipe_is_the_loss_of_its_parts():
    """Unconstrained, empty paths dropped, the mean over an item's tokens, a sampled anchor: path by path and
    token by token.
    """
    settings = FINETUNE.replace(
        kl=KL(estimator="k3", coefficient=0.3, target=None),
        item_log_prob="mean",
        empty_paths="drop",
        n_rollouts=5,
    )
    catalogue = random_catalogue(30, constrained=False, min_length=0, n_levels=2, codebook_size=6)
    policy, reference, simulator = (
        random_policy(catalogue, seed=0),
        random_policy(catalogue, seed=1),
        random_simulator(30),
    )
    learner = Learner.of(
        accelerator("float32"), copy.deepcopy(policy), catalogue, simulator, WORDS, settings, seed=5
    )
    learner.reference, prompts = reference, some_prompts(8)
    values = take_step(learner, prompts, centering=True, seed=1)

    paths = draw(policy, catalogue, prompts, 5, 1.0, seed=1)
    raw = step_rewards(learner.rated(prompts, paths.items), rewards_with(settings.weights))
    z = {}
    for name, moments in collected(raw).items():
        worst = raw.values[name][raw.real].min() - 1 if name != "ctr" else -1.0
        full = torch.where(paths.items < 0, worst, raw.values[name])
        z[name] = (full - moments.mean.float()) / moments.std.clamp(min=0.1).float()
    step = (z["ctr"] / 4 + z["ioi"] + z["ior"]) * (paths.items != 0)

    loss, n_paths, kl, nats, n_tokens, advantages = 0.0, int((paths.length > 0).sum()), 0.0, 0.0, 0, []
    all_tokens = catalogue.prompt_tokens(prompts.history, prompts.target)
    for b in range(8):
        kept = [j for j in range(5) if paths.length[b, j] > 0]
        for j in kept:
            emitted = paths.tokens[b, j][paths.tokens[b, j] != NO_TOKEN]
            read = torch.cat([torch.zeros(1, dtype=torch.int64), emitted[:-1]])[None, None]
            own, other = (
                p.logits(p(all_tokens[b : b + 1], read), torch.arange(catalogue.vocabulary.size))
                for p in (policy, reference)
            )
            own, other = own[0, 0].log_softmax(-1), other[0, 0].log_softmax(-1)
            kl += (own.exp() * (own - other)).sum().item()
            nats -= (own.exp() * own).sum().item()
            n_tokens += len(emitted)
            chosen = torch.stack(
                [own.gather(1, emitted[:, None])[:, 0], other.gather(1, emitted[:, None])[:, 0]]
            )
            for t, group in enumerate(chosen.split(2, dim=1)):
                there = [i for i in kept if paths.length[b, i] >= t]
                to_go = [step[b, i, t:].sum() for i in there]
                advantage = (
                    to_go[there.index(j)] - sum(to_go) / len(there) if len(there) > 1 else torch.tensor(0.0)
                )
                log_prob, reference_log_prob = group.mean(1)
                ratio = (reference_log_prob - log_prob).exp()
                loss = loss - advantage * log_prob + 0.3 * (ratio - 1 - ratio.log())
                advantages.append(advantage.item())
    loss = loss / n_paths
    assert 0 < n_paths < 40
    assert (paths.items > 0).sum() > 5
    assert (paths.items < 0).sum() > 5
    assert values["train/loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
    loss.backward()
    norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in policy.parameters()))
    assert values["train/gradient_norm"] == pytest.approx(norm, rel=1e-3)
    assert values["train/kl"] == pytest.approx(kl / n_paths, rel=1e-4)
    assert values["train/entropy"] == pytest.approx(nats / n_tokens, rel=1e-4)
    mean = sum(advantages) / len(advantages)
    assert values["train/advantage_variance"] == pytest.approx(
        sum(a * a for a in advantages) / len(advantages) - mean**2, rel=1e-3
    )
    assert values["train/error"] == pytest.approx(((paths.items < 0).sum() / (paths.items != 0).sum()).item())
