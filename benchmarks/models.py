"""What benchmarks run on: the trained policy and simulator of `make repro` with its validation prompts, or tiny random ones."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from prorl.config import SASRecSizes
from prorl.params import read_params
from prorl.policy.checkpoints import load_policy
from prorl.policy.model import Sizes, T5Policy
from prorl.policy.prompts import Catalogue
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.recbole_models import CausalSASRec
from prorl.simulators.scoring import InnerProductSimulator, load_simulator
from prorl.tables import read_instances

DATASET = "ml-100k"
TINY_SASREC = SASRecSizes(
    n_layers=1,
    n_heads=2,
    hidden_size=8,
    inner_size=16,
    hidden_dropout_prob=0.0,
    attn_dropout_prob=0.0,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
    initializer_range=0.5,
)


@dataclass(frozen=True)
class Models:
    """A policy and its catalogue, a simulator, and prompts: histories [i, h] and targets [i], all on one device."""

    policy: T5Policy
    catalogue: Catalogue
    simulator: InnerProductSimulator
    history: torch.Tensor
    target: torch.Tensor

    def with_rules(self, **rules) -> "Models":
        """The same under other rules of decoding, e.g. `min_length=1`."""
        return replace(self, catalogue=replace(self.catalogue, decoding=replace(self.catalogue.decoding, **rules)))

    def prompts(self, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """`n` prompts drawn at random: histories [n, h] and targets [n]."""
        rows = torch.randint(len(self.target), (n,), generator=torch.Generator().manual_seed(seed)).to(self.target.device)
        return self.history[rows], self.target[rows]


def models(quick: bool, device: torch.device, policy: str = "pretrained", simulator: str = "SASRec") -> Models:
    """The models of `make repro` for MovieLens-100K; tiny ones where `quick`."""
    return tiny_models(device) if quick else trained_models(device, policy, simulator)


def trained_models(device: torch.device, policy: str, simulator: str) -> Models:
    """The policy named `policy` and the simulator named `simulator`. Ends the process where they have not been trained yet."""
    instances = Path("data/instances") / DATASET / "validation.parquet"
    folders = Path("models/policies") / DATASET / policy, Path("models/simulators") / DATASET / simulator
    for path in (instances, *folders):
        if not path.exists():
            sys.exit(f"{path}: no such file or folder; `make repro` makes the models and data that benchmarks use")
    network, catalogue = load_policy(folders[0], read_params().section("decoding"))
    prompts = read_instances(instances)
    return Models(
        network.to(device).eval(),
        catalogue.to(device),
        load_simulator(folders[1]).to(device),
        torch.from_numpy(prompts.history).long().to(device),
        torch.from_numpy(prompts.random_target).long().to(device),
    )


def tiny_models(device: torch.device, n_items: int = 60, seed: int = 0) -> Models:
    """A policy and a SASRec of `n_items` items with random weights, and 16 prompts."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    codes = np.stack(np.unravel_index(generator.choice(8**3, n_items, replace=False), (8, 8, 8)), axis=1)
    vocabulary = Vocabulary(3, 8)
    catalogue = Catalogue(vocabulary, Trie.from_codes(codes, 8), read_params().section("decoding"), "separate")
    policy = T5Policy(Sizes(vocabulary.size_with_target_tokens, n_layers=1, d_model=16, d_ff=32, d_kv=8, n_heads=2, dropout=0.0))
    prompts = torch.from_numpy(np.stack([generator.permutation(n_items)[:11] + 1 for _ in range(16)]))
    simulator = InnerProductSimulator(CausalSASRec(TINY_SASREC, n_items, max_length=50)).to(device)
    return Models(policy.to(device).eval(), catalogue.to(device), simulator, prompts[:, :10].to(device), prompts[:, 10].to(device))
