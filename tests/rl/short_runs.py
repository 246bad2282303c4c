"""Short trainings of a random policy, and learners at their first step."""

import numpy as np
import torch

from prorl.devices import accelerator
from prorl.evaluation.judge import Judge
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.rl.estimators import new_estimator
from prorl.rl.learner import Learner
from prorl.rl.rewards import RatedPaths
from prorl.rl.rollouts import PromptSource
from prorl.rl.trainer import finetune
from prorl.simulators.protocol import Scores
from tests.tiny_models import (
    FINETUNE,
    prompts_of,
    random_catalogue,
    random_instances,
    random_policy,
    random_prompts,
    random_simulator,
    session_at,
)

N_ITEMS = 30
RULES = ["repeats", "history", "target"]
WORDS = np.random.default_rng(0).integers(1, 16, size=(N_ITEMS + 1, 1), dtype=np.uint64)
WORDS[0] = 0


def a_learner(settings=FINETUNE, seed=0, catalogue=None):
    """A learner whose reference is another policy, so that KL counts from the first step on."""
    catalogue = catalogue or random_catalogue(N_ITEMS, forbid=RULES)
    run = accelerator(settings.precision)
    learner = Learner.of(
        run, random_policy(catalogue, seed=seed), catalogue, random_simulator(N_ITEMS),
        WORDS, settings, seed=5,
    )  # fmt: skip
    learner.reference = random_policy(catalogue, seed=seed + 1)
    return learner


def advantages_by(name):
    """The function from `to_go` and `acts` to advantages of the estimator `name`."""
    return new_estimator(FINETUNE.replace(estimator=name), 1, 0, torch.device("cpu")).advantages


def rated(items, scores, target=1, words=WORDS):
    """Paths `items` [1, m, t] towards the one `target`, as rewards read them."""
    return RatedPaths(items, torch.tensor([target]), scores, torch.from_numpy(words.view(np.int64)))


def some_prompts(n=6):
    return prompts_of(*random_prompts(n, N_ITEMS))


class LikesEvenItems:
    """Users of one's own: every even item brings them nearer to the target, every odd one takes them away."""

    n_items = N_ITEMS

    def score(self, history, path, target, *, ends=False):
        moved = torch.where(path % 2 == 0, 0.5, -0.5) * (path > 0)
        so_far = torch.cat([torch.zeros_like(moved[..., :1]), moved.cumsum(-1)], dim=-1)
        so_far = so_far[..., [0, -1]] if ends else so_far
        return Scores(log_prob=so_far - 5.0, rank=(20 - 2 * so_far).long(), acceptance=0.5 * (path > 0))


def run(folder, settings=FINETUNE, simulator=None, catalogue=None):
    """Fine-tune a random policy for a simulator, random by default; gives policy, report and rows of the
    curves.
    """
    instances, sequences = random_instances(20, N_ITEMS)
    catalogue = catalogue or random_catalogue(N_ITEMS, forbid=RULES, target_tokens="separate")
    policy, simulator = random_policy(catalogue), simulator or random_simulator(N_ITEMS)
    prompts = Prompts.of(instances)
    judge = Judge(prompts, {"SASRec": simulator}, WORDS, 4, 40, 16, 0)
    session = session_at(folder)
    result = finetune(
        policy,
        catalogue,
        simulator,
        WORDS,
        PromptSource(instances, sequences, N_ITEMS, settings.targets, settings.prompts_per_step, 3),
        lambda current: judge.greedy_means(PolicyGuide(current, catalogue))["SASRec"],
        settings,
        7,
        session,
    )
    return policy, result, session.checkpoint.load()[1]["rows"]
