"""Growth of time and memory of a policy-gradient step with rollouts, path length and items.

    python -m benchmarks.scaling [--quick] [--results <folder>]

The policy and the SASRec have the sizes of params.yaml and random weights; all paths have one length. For
each quantity the table gives the slope of a line through the logarithms: 1 is linear growth, less is
better. The scores of all items at all prefixes are never held at once; beside the step's peak memory stands
what they would take.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.harness import Measurement, Options, command_line, measure, prepare, publish
from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.policy import Policy
from prorl.config.simulator import SASRecSizes, Simulator
from prorl.devices import accelerator
from prorl.params import Params, read_params
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Prompts
from prorl.rl.learner import Learner
from prorl.rl.step import take_step
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.recbole_models import CausalSASRec
from prorl.simulators.scoring import InnerProductSimulator
from prorl.t5.model import T5, T5Sizes

TITLE = "Growth of a policy-gradient step"
N_PROMPTS, HISTORY, MAX_SLOPE = 8, 10, 1
SEED = 2026


@dataclass(frozen=True)
class Size:
    """The size of one step."""

    n_rollouts: int = 16
    length: int = 4
    n_items: int = 3_000


GROWTH = {
    "rollouts per prompt": [Size(n_rollouts=n) for n in (4, 8, 16, 32, 64)],
    "items per path": [Size(length=n) for n in (2, 5, 10, 20)],
    "items in the catalogue": [Size(n_items=n) for n in (3_000, 100_000, 1_000_000)],
}
QUICK = {
    "rollouts per prompt": [Size(2, 2, 60), Size(4, 2, 60)],
    "items per path": [Size(2, 1, 60), Size(2, 3, 60)],
    "items in the catalogue": [Size(2, 2, 60), Size(2, 2, 400)],
}
HEAD = "| {0} | median | peak memory | all scores at once would take |\n|---|---|---|---|"


def main() -> None:
    """One table for each quantity, the others being held."""
    options = prepare(TITLE, command_line(TITLE).parse_args())
    lines = []
    for quantity, sizes in (QUICK if options.quick else GROWTH).items():
        measured, catalogues = {}, []
        for size in sizes:
            step, described = step_of(size, options)
            measured[size] = measure({"step": step}, options)["step"]
            catalogues.append(f"- {size.n_items:,} items: {described}")
        own = [HEAD.format(quantity), *(row(quantity, size, one) for size, one in measured.items())]
        slopes = [
            slope(quantity, {size: value(one) for size, one in measured.items()}) for value in (seconds, peak)
        ]
        own += ["", f"Slope of time {slopes[0]:.2f}, of peak memory {slopes[1]:.2f}; aim <= {MAX_SLOPE}."]
        if quantity == "items in the catalogue":
            own += ["", *catalogues]
        print(
            "\n".join(line for line in own if line.startswith("|")), flush=True
        )  # the rest is printed at the end
        lines += [*own, ""]
    publish(TITLE, lines, options)


def seconds(measured: Measurement) -> float:
    """Median seconds."""
    return measured.median


def peak(measured: Measurement) -> float:
    """Peak memory in bytes, at least one page."""
    return max(measured.peak_bytes, 4096)


def varied(quantity: str, size: Size) -> int:
    """The value of `quantity` in `size`."""
    return {
        "rollouts per prompt": size.n_rollouts,
        "items per path": size.length,
        "items in the catalogue": size.n_items,
    }[quantity]


def row(quantity: str, size: Size, measured: Measurement) -> str:
    """One line of the table."""
    n_scores = N_PROMPTS * (1 + size.n_rollouts * size.length) * size.n_items
    cells = [
        f"{varied(quantity, size):,}",
        f"{measured.median:.3f} s",
        mebibytes(measured.peak_bytes),
        mebibytes(4 * n_scores),
    ]
    return f"| {' | '.join(cells)} |"


def slope(quantity: str, values: dict[Size, float]) -> float:
    """The slope of a least-squares line through the logarithms of `quantity` and of `values`."""
    x = [math.log(varied(quantity, size)) for size in values]
    return float(np.polyfit(x, [math.log(value) for value in values.values()], 1)[0])


def mebibytes(n_bytes: float) -> str:
    """Bytes in MiB."""
    return f"{n_bytes / 2**20:,.0f} MiB"


def step_of(size: Size, options: Options) -> tuple[Callable[[], dict], str]:
    """A policy-gradient step of `size`, and what its catalogue takes."""
    params = read_params()
    settings = params.section(Finetune).replace(n_rollouts=size.n_rollouts, prompts_per_step=N_PROMPTS)
    own, sasrec = network_sizes(params, options)
    run = accelerator(settings.precision)
    torch.manual_seed(SEED)
    catalogue, described = catalogue_of(size, options)
    sizes = t5_sizes(own, catalogue.vocabulary)
    policy, reference = T5(sizes), T5(sizes).to(run.device).eval().requires_grad_(False)
    simulator = InnerProductSimulator(CausalSASRec(sasrec, size.n_items, max_length=50)).to(run.device)
    words = np.ones((size.n_items + 1, 1), dtype=np.uint64)  # all items share the one attribute
    learner = Learner.of(run, policy, catalogue, simulator, words, settings, SEED)
    learner.reference = reference
    prompts = random_prompts(N_PROMPTS, size.n_items, run.device)
    return lambda: take_step(learner, prompts, centering=True, seed=SEED), described


def network_sizes(params: Params, options: Options) -> tuple[Policy, SASRecSizes]:
    """The sizes of policy and SASRec in `params`; tiny ones where `options.quick`."""
    own, sasrec = params.section(Policy), params.section(Simulator).SASRec
    if options.quick:
        own = own.replace(n_layers=1, d_model=16, d_ff=32, d_kv=8, n_heads=2)
        sasrec = sasrec.replace(hidden_size=8, inner_size=16)
    return own, sasrec


def t5_sizes(own: Policy, vocabulary: Vocabulary) -> T5Sizes:
    """The sizes of a policy without dropout for `vocabulary`, its target's tokens being separate."""
    return T5Sizes(
        vocabulary.size_with_target_tokens,
        own.n_layers,
        own.d_model,
        own.d_ff,
        own.d_kv,
        own.n_heads,
        dropout=0.0,
    )


def random_prompts(n: int, n_items: int, device: torch.device) -> Prompts:
    """`n` prompts of random items."""
    drawn = torch.from_numpy(np.random.default_rng(SEED).choice(n_items, (n, HISTORY + 1))).to(device) + 1
    number = torch.arange(n, device=device)
    return Prompts(number, number + 1, drawn[:, :HISTORY], drawn[:, HISTORY])


def catalogue_of(size: Size, options: Options) -> tuple[Catalogue, str]:
    """`size.n_items` items with random codes, and the memory and time that their trie takes."""
    codebook_size = 16 if options.quick else 256
    vocabulary = Vocabulary(4, codebook_size)
    numbers = np.random.default_rng(SEED).choice(codebook_size**3, size.n_items, replace=False)
    codes = np.stack([*np.unravel_index(numbers, (codebook_size,) * 3), np.ones_like(numbers)], axis=1)
    started = time.perf_counter()
    trie = Trie.from_codes(torch.from_numpy(codes), codebook_size)
    took = time.perf_counter() - started
    n_bytes = sum(table.nbytes for table in vars(trie).values())
    rules = Decoding(
        constrained=True,
        forbid=["repeats", "history", "target"],
        min_length=size.length,
        max_length=size.length,
    )
    catalogue = Catalogue(vocabulary, trie, rules, "separate").to(options.device)
    return catalogue, f"the trie of their codes takes {mebibytes(n_bytes)}, made in {took:.1f} s"


if __name__ == "__main__":
    main()
