"""What benchmarks run on: models and validation prompts of `make repro`, or tiny random ones."""

import copy
import sys
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from prorl.config.decoding import Decoding
from prorl.config.simulator import SASRecSizes
from prorl.devices import accelerator
from prorl.instances import read_instances
from prorl.layout import Layout
from prorl.params import read_params
from prorl.paths.mining import attribute_words
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_policy
from prorl.policy.decoding import keyed_uniforms, rollouts
from prorl.prompts import Prompts
from prorl.rl.rewards import RatedPaths
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.protocol import Scores
from prorl.simulators.recbole_models import CausalSASRec
from prorl.simulators.scoring import InnerProductSimulator, load_simulator
from prorl.t5.model import T5, T5Sizes
from prorl.tables import ITEMS, read_table

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
    """A policy and its catalogue, a simulator, the items' attributes, and prompts, all on one device.

    Attributes are bits, int64 [n+1, w]. Prompts are histories [i, h] and targets [i].
    """

    policy: T5
    catalogue: Catalogue
    simulator: InnerProductSimulator
    attribute_words: torch.Tensor
    history: torch.Tensor
    target: torch.Tensor

    def with_rules(self, **rules) -> "Models":
        """The same under other rules of decoding, e.g. `min_length=1`."""
        return replace(
            self, catalogue=replace(self.catalogue, decoding=self.catalogue.decoding.replace(**rules))
        )

    @torch.no_grad()
    def with_mean_length(self, mean: float) -> "Models":
        """The same with a policy whose sampled paths have about `mean` items, to compare different lengths.

        Its paths stop with about the same probability after every item. The embedding of EOS is replaced by
        one whose logit is as near as possible to a constant above the logits of all items together, at
        decoder states of paths sampled to the longest length. Bisection finds the constant.
        """
        history, target = self.prompts(64)
        uniforms = keyed_uniforms(
            0, torch.arange(len(target), device=target.device), 4, self.catalogue.n_tokens
        )
        states = self._states_before_items(history, target, uniforms)
        ids = self.catalogue.choice_ids(0, states.device)
        items = self.policy.logits(states, ids[ids != self.catalogue.vocabulary.eos]).logsumexp(-1)
        n, width = states.shape
        ridge = torch.eye(width, device=states.device) * n * 1e-3
        wanted = torch.stack([items, torch.ones_like(items)], dim=1)
        of_items, of_constant = (
            torch.linalg.solve(states.T @ states + ridge, states.T @ wanted) * width**0.5
        ).T

        def stopping(constant: float) -> T5:
            policy = copy.deepcopy(self.policy)
            policy.shared.weight[self.catalogue.vocabulary.eos] = of_items + constant * of_constant
            return policy

        low, high = -20.0, 20.0
        for _ in range(12):
            middle = (low + high) / 2
            length = (
                rollouts(stopping(middle), self.catalogue, history, target, uniforms).length.double().mean()
            )
            low, high = (middle, high) if length > mean else (low, middle)
        return replace(self, policy=stopping((low + high) / 2))

    def _states_before_items(
        self, history: torch.Tensor, target: torch.Tensor, uniforms: torch.Tensor
    ) -> torch.Tensor:
        """Decoder states [s, d] where sampled paths choose an item or the stop.

        history: [b, h]; target: [b].
        """
        longest = self.catalogue.decoding.max_length
        catalogue = self.with_rules(constrained=True, min_length=longest).catalogue
        items = rollouts(self.policy, catalogue, history, target, uniforms).items
        tokens = catalogue.item_tokens(items).flatten(2)
        read = torch.cat([torch.zeros_like(tokens[..., :1]), tokens[..., :-1]], dim=2)
        states = self.policy(catalogue.prompt_tokens(history, target), read)[:, :, :: catalogue.n_levels]
        return states.flatten(0, 2)

    def rated(self, items: torch.Tensor, target: torch.Tensor, scores: Scores) -> RatedPaths:
        """What rewards may know of paths `items` [b, m, t] towards `target` [b]."""
        return RatedPaths(items, target, scores, self.attribute_words)

    def prompts(self, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """`n` prompts drawn at random: histories [n, h] and targets [n]."""
        rows = torch.randint(len(self.target), (n,), generator=torch.Generator().manual_seed(seed)).to(
            self.target.device
        )
        return self.history[rows], self.target[rows]

    def numbered_prompts(self, n: int, seed: int = 0) -> Prompts:
        """The same prompts, numbered from 0, each as of a user of its own."""
        number = torch.arange(n, device=self.target.device)
        return Prompts(number, number + 1, *self.prompts(n, seed))


def models(
    quick: bool,
    device: torch.device,
    policy: str = "pretrained",
    simulator: str = "SASRec",
    dataset: str = DATASET,
) -> Models:
    """The models of `make repro` for `dataset`; tiny ones where `quick`."""
    return tiny_models(device) if quick else trained_models(device, policy, simulator, dataset)


def trained_models(device: torch.device, policy: str, simulator: str, dataset: str = DATASET) -> Models:
    """The policy named `policy` and the simulator named `simulator` of `dataset`.

    Ends the process where they have not been trained yet.
    """
    layout = Layout(dataset)
    instances = layout.instances("validation")
    folders = layout.policy(policy), layout.simulator(simulator)
    for path in (instances, *folders):
        if not path.exists():
            sys.exit(
                f"{path}: no such file or folder; `make repro` makes the models and data that benchmarks use"
            )
    network, catalogue = load_policy(folders[0], read_params().section(Decoding))
    prompts = read_instances(instances)
    words = attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[])
    return Models(
        network.to(device).eval(),
        catalogue.to(device),
        load_simulator(folders[1]).to(device),
        torch.from_numpy(words.view(np.int64)).to(device),
        torch.tensor(prompts.history, dtype=torch.int64, device=device),
        torch.tensor(prompts.random_target, dtype=torch.int64, device=device),
    )


def tiny_models(device: torch.device, n_items: int = 60, seed: int = 0) -> Models:
    """A policy, told an acceptance as in the default run, and a SASRec of `n_items` items, both with random
    weights, and 16 prompts.
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    codes = np.stack(np.unravel_index(generator.choice(8**3, n_items, replace=False), (8, 8, 8)), axis=1)
    vocabulary = Vocabulary(3, 8)
    catalogue = Catalogue(
        vocabulary,
        Trie.from_codes(torch.from_numpy(codes), 8),
        read_params().section(Decoding),
        "separate",
        (0.0, 1.0),
        1.0,
    )
    policy = T5(
        T5Sizes(
            catalogue.n_ids,
            n_layers=1,
            d_model=16,
            d_ff=32,
            d_kv=8,
            n_heads=2,
            dropout=0.0,
        )
    )
    prompts = torch.from_numpy(np.stack([generator.permutation(n_items)[:11] + 1 for _ in range(16)]))
    simulator = InnerProductSimulator(CausalSASRec(TINY_SASREC, n_items, max_length=50)).to(device)
    return Models(
        policy.to(device).eval(),
        catalogue.to(device),
        simulator,
        torch.from_numpy(generator.integers(1, 16, (n_items + 1, 1))).to(device),
        prompts[:, :10].to(device),
        prompts[:, 10].to(device),
    )


def accelerator_of(precision: str) -> Accelerator:
    """What training runs with in `precision`.

    A process may have had one of another precision, which is forgotten.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    run = accelerator(precision)
    torch.use_deterministic_algorithms(False)  # as the obvious versions run; ours switch it on
    return run
