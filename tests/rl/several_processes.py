"""One of several processes that train together on a CPU: `several_processes.py <folder>`, with RANK and
WORLD_SIZE in the environment.

Trains a simulator, pre-trains a policy and fine-tunes it, all without dropout, and writes the curves and
weights into the folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from prorl.config.finetune import KL
from prorl.evaluation.judge import Judge
from prorl.policy.guide import PolicyGuide
from prorl.policy.pretraining import pretrain
from prorl.policy.sources import Mixture, Pool
from prorl.prompts import Prompts, mined
from prorl.rl.rollouts import PromptSource
from prorl.rl.trainer import finetune
from prorl.simulators.training import train_simulator
from tests.tiny_models import (
    FINETUNE,
    PRETRAIN,
    SASREC,
    SIMULATOR,
    random_catalogue,
    random_instances,
    random_policy,
    session_at,
)

N_ITEMS = 30


def train_all(folder: Path) -> None:
    instances, sequences = random_instances(12, N_ITEMS)
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats", "history", "target"], max_length=5)
    still = SASREC.replace(hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    sessions = {name: session_at(folder / name) for name in ("simulator", "pretrain", "critic", "finetune")}

    settings = SIMULATOR.replace(SASRec=still, max_length=12, batch_size=7)
    simulator, _ = train_simulator(
        "SASRec", sequences, sequences, N_ITEMS, settings, 7, sessions["simulator"]
    )
    policy = random_policy(catalogue, dropout=0.0)
    # Odd batches, so that processes have unequal shares.
    paths = {"mined": mined(instances, 5)}
    pools = {name: Pool(part) for name, part in paths.items()}
    demonstrations = Mixture(pools, paths, {"mined": 1.0})
    pretrain(policy, catalogue, demonstrations, PRETRAIN.replace(batch_size=9), 7, sessions["pretrain"], dict)
    prompts = Prompts.of(instances)
    words = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
    judge = Judge(prompts, {"SASRec": simulator}, words, 5, 40, 8, 0)
    source = PromptSource(
        instances, sequences, N_ITEMS, "random", 5, 3
    )  # an epoch's last step has four prompts
    critic = {
        "estimator": "a2c",
        "centering": "running",
        "updates_per_rollout": 2,
        "kl": KL(estimator="k3", coefficient=0.1, target=0.1),
    }
    # Unconstrained, rollouts hold non-items, which are worth less than anything that any process has seen.
    anything = random_catalogue(
        N_ITEMS, constrained=False, min_length=0, max_length=5, n_levels=1, codebook_size=32
    )
    runs = {"critic": (anything, critic), "finetune": (catalogue, {})}
    for name, (rules, variant) in runs.items():
        policy = random_policy(rules, dropout=0.0)  # another one: `accelerate` has wrapped the last
        finetune(
            policy,
            rules,
            simulator,
            words,
            source,
            lambda current, rules=rules: judge.greedy_means(PolicyGuide(current, rules))["SASRec"],
            FINETUNE.replace(prompts_per_step=5, **variant),
            7,
            sessions[name],
        )
    if PartialState().is_main_process:
        rows = {name: session.checkpoint.load()[1]["rows"] for name, session in sessions.items()}
        (folder / "rows.json").write_text(json.dumps(rows))
        (folder / "processes").write_text(str(PartialState().num_processes))
        save_file(
            {name: weight.contiguous() for name, weight in policy.state_dict().items()},
            folder / "policy.safetensors",
        )
    PartialState().wait_for_everyone()


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_all(Path(sys.argv[1]))
    PartialState().destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
