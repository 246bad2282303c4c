"""Simulators, catalogues and policies of a few items with random weights, and settings of short runs."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from prorl.checkpoint import Checkpoint
from prorl.config.decoding import Decoding
from prorl.config.finetune import A2C, KL, Expected, Finetune
from prorl.config.pretrain import Pretrain
from prorl.config.simulator import BERT4RecSizes, GRU4RecSizes, LightSANsSizes, SASRecSizes, Simulator
from prorl.guide import GuideData
from prorl.instances import Instances
from prorl.params import read_params
from prorl.paths.sequences import Sequences
from prorl.policy.catalogue import NO_TOKEN, Catalogue, Paths
from prorl.prompts import Demonstrations, Prompts
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.registry import library_model
from prorl.simulators.scoring import simulator_of
from prorl.t5.model import T5, T5Sizes
from prorl.training import Session
from tools.stage_dependencies import ROOT

SASREC = SASRecSizes(
    n_layers=2,
    n_heads=2,
    hidden_size=8,
    inner_size=16,
    hidden_dropout_prob=0.1,
    attn_dropout_prob=0.1,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
    initializer_range=0.02,
)
GRU4REC = GRU4RecSizes(embedding_size=6, hidden_size=10, num_layers=2, dropout_prob=0.1)
BERT4REC = BERT4RecSizes(**SASREC.model_dump(), mask_ratio=0.3, ft_ratio=0.5, passes=2)
LIGHTSANS = LightSANsSizes(**SASREC.model_dump(), k_interests=3, passes=2)
SIZES = {"SASRec": SASREC, "GRU4Rec": GRU4REC, "BERT4Rec": BERT4REC, "LightSANs": LIGHTSANS}

PARAMS = read_params(ROOT / "params.yaml")  # for settings that do not matter here

SIMULATOR = PARAMS.section(Simulator).replace(
    max_length=8,
    epochs=4,
    patience=9,
    batch_size=16,
    learning_rate=1e-2,
    **SIZES,
)

PRETRAIN = PARAMS.section(Pretrain).replace(
    max_steps=20,
    evaluate_every=5,
    patience=100,
    min_improvement=0.0,
    batch_size=8,
    learning_rate=1e-2,
    embedding_learning_rate=1e-2,
    warmup_steps=2,
    weight_decay=0.05,
    gradient_clip=1.0,
    precision="float32",
)

FINETUNE = PARAMS.section(Finetune).replace(
    targets="random",
    select_on={"ioi": 1.0},
    epochs=None,
    steps=10,
    centering_steps=1,
    prompts_per_step=4,
    n_rollouts=4,
    temperature=1.0,
    gamma=1.0,
    weights={"ctr": 1.0, "ioi": 1.0, "ior": 1.0},
    estimator="position_specific",
    centering="warmup",
    offset=None,
    normalise="none",
    kl=KL(estimator="exact", coefficient=0.01, target=None),
    item_log_prob="sum",
    empty_paths="forbid",
    skip_alike=False,
    a2c=A2C(hidden_size=8, warmup_steps=2, coefficient=0.25),
    expected=Expected(items=3),
    entropy_bonus=0.0,
    updates_per_rollout=1,
    reference_reset=None,
    weight_averaging=None,
    stop_on_errors=None,
    stop_on_collapse=None,
    learning_rate=1e-3,
    embedding_learning_rate=1e-3,
    warmup_share=0.0,
    weight_decay=0.05,
    gradient_clip=1.0,
    evaluate_every=5,
    validation_prompts=8,
    precision="float32",
)


def recbole_model(name: str, n_items: int, max_length: int, seed: int = 0) -> nn.Module:
    """A RecBole model in evaluation mode; its random weights are large enough to tell items apart."""
    model = library_model(name)(SIZES[name], n_items, max_length)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_simulator(n_items: int, name: str = "SASRec", max_length: int = 20, seed: int = 0) -> Any:
    return simulator_of(recbole_model(name, n_items, max_length, seed))


def random_codes(n_items: int, n_levels: int, codebook_size: int, seed: int = 0) -> np.ndarray:
    """Distinct codes [n_items, n_levels]; many share their first ones."""
    numbers = np.random.default_rng(seed).choice(codebook_size**n_levels, n_items, replace=False)
    return np.stack(np.unravel_index(numbers, (codebook_size,) * n_levels), axis=1)


# Of `random_catalogue`: how 30 items are told apart, by three codes each or by one of their own.
IDENTIFIERS = {"semantic": {"n_levels": 3, "codebook_size": 4}, "item": {"n_levels": 1, "codebook_size": 30}}


def random_catalogue(
    n_items: int = 30,
    *,
    constrained: bool = True,
    forbid: list[str] | None = None,
    min_length: int = 1,
    max_length: int = 4,
    n_levels: int = 3,
    codebook_size: int = 4,
    target_tokens: str = "shared",
) -> Catalogue:
    """A catalogue whose trie is about half full; nothing but `forbid` is forbidden."""
    return Catalogue(
        Vocabulary(n_levels, codebook_size),
        Trie.from_codes(torch.from_numpy(random_codes(n_items, n_levels, codebook_size)), codebook_size),
        Decoding(constrained=constrained, forbid=forbid or [], min_length=min_length, max_length=max_length),
        target_tokens,
    )


def random_policy(catalogue: Catalogue, *, seed: int = 0, dropout: float = 0.0, d_model: int = 16) -> T5:
    """A policy in evaluation mode with T5's own initialisation."""
    torch.manual_seed(seed)
    return T5(
        T5Sizes(catalogue.n_ids, n_layers=2, d_model=d_model, d_ff=32, d_kv=4, n_heads=3, dropout=dropout)
    ).eval()


def random_prompts(
    n_prompts: int, n_items: int, history_length: int = 5, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Histories [b, h] and targets [b]; a history may hold an item twice."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.randint(1, n_items + 1, (n_prompts, history_length + 1), generator=generator)
    return items[:, :-1], items[:, -1]


def prompts_of(history: torch.Tensor, target: torch.Tensor) -> Prompts:
    """Prompts with histories [b, h] and targets [b], numbered from 0, each of a user of its own."""
    number = torch.arange(len(target))
    return Prompts(number, number + 1, history, target)


def demonstrations_of(history: torch.Tensor, target: torch.Tensor, path: torch.Tensor) -> Demonstrations:
    """Such prompts with their paths [b, t]."""
    return Demonstrations.certain(prompts_of(history, target), path)


def some_prompts(n_prompts: int, n_items: int, seed: int = 0) -> Prompts:
    """`random_prompts` as prompts."""
    return prompts_of(*random_prompts(n_prompts, n_items, seed=seed))


def random_paths(
    n_prompts: int, m: int, max_length: int, n_items: int, *, min_length: int = 0, seed: int = 0
) -> torch.Tensor:
    """Paths [b, m, t] of random lengths, 0 behind their end."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(min_length, max_length + 1, (n_prompts, m, 1), generator=generator)
    items = torch.randint(1, n_items + 1, (n_prompts, m, max_length), generator=generator)
    return items * (torch.arange(max_length) < length)


def random_demonstrations(n: int, n_items: int, max_length: int = 4, seed: int = 0) -> Demonstrations:
    """Random prompts with random paths of at least one item."""
    paths = random_paths(n, 1, max_length, n_items, min_length=1, seed=seed)
    return demonstrations_of(*random_prompts(n, n_items, seed=seed), paths[:, 0])


def written(catalogue: Catalogue, items: torch.Tensor) -> Paths:
    """Paths `items` [b, m, t] (0 behind the end) as decoding writes them; their log-probabilities are not a
    policy's.
    """
    b, m, t = items.shape
    length = (items != 0).sum(-1)
    tokens = catalogue.item_tokens(items).flatten(2)
    place = torch.arange(tokens.shape[2]) - catalogue.n_levels * length[..., None]
    tokens = tokens.masked_fill(place == 0, catalogue.vocabulary.eos).masked_fill(place > 0, NO_TOKEN)
    return Paths(items, length, tokens, torch.zeros(b, m, t + 1))


def sequences_of(*users: list[int]) -> Sequences:
    """Sequences of users written out item by item."""
    lengths = [len(items) for items in users]
    return Sequences(
        np.array([item for items in users for item in items], dtype=np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def random_instances(
    n_users: int, n_items: int, *, history_length: int = 5, per_user: int = 2, seed: int = 0
) -> tuple[Instances, Sequences]:
    """Instances of runs of 2 to 5 items, and the sequences they come from: each user knows at most half of
    the items.
    """
    rng = np.random.default_rng(seed)
    users, histories, runs, sequences, targets = [], [], [], [], []
    for user in range(1, n_users + 1):
        known = rng.permutation(n_items)[: n_items // 2] + 1
        sequence = rng.choice(known, size=per_user * (history_length + 5))
        sequences.append(sequence.tolist())
        for part in np.split(sequence, per_user):
            users.append(user)
            histories.append(part[:history_length])
            runs.append(part[history_length:])
            targets.append(rng.choice(np.setdiff1d(np.arange(1, n_items + 1), sequence)))
    length = rng.integers(2, 6, len(runs))
    run = np.stack(runs) * (np.arange(5) < length[:, None])
    return Instances(np.array(users), np.stack(histories), run, length, np.array(targets)), sequences_of(
        *sequences
    )


def guide_data_of(n_items: int, *, n_users: int = 8, seed: int = 0) -> GuideData:
    """What guides may learn from: random instances of training users, and of as many validation users."""
    parts, sequences = random_instances(2 * n_users, n_items, seed=seed)
    of_train = parts.user <= n_users
    train, validation = (
        Instances(*(getattr(parts, field.name)[rows] for field in fields(Instances)))
        for rows in (of_train, ~of_train)
    )
    titles = [f"Title {item} (19{item % 100:02})" for item in range(1, n_items + 1)]
    return GuideData(train, validation, sequences, np.arange(1, n_users + 1), titles)


def checkpoint_at(path: Path) -> Checkpoint:
    """A checkpoint stored at `path`."""
    checkpoint = Checkpoint("run", [], script=__file__)
    checkpoint.path, checkpoint._unfinished = path, path.parent / ".partial"
    return checkpoint


def session_at(folder: Path) -> Session:
    """The session of a training that keeps everything in `folder`."""
    return Session("run", checkpoint_at(folder / "checkpoint.safetensors"), folder / "curves", 60)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Forget the process's accelerator after each test: its precision cannot be changed otherwise."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.use_deterministic_algorithms(False)


class Killed(Exception):
    """What ends a run in the midst of its work."""


def killed_at(step: int, log):
    """`Curves.log`, which ends the process at `step` instead of adding its row."""

    def log_or_die(self, at, values, untracked=None):
        if at == step:
            raise Killed
        log(self, at, values, untracked)

    return log_or_die
