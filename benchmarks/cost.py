"""What a path costs: the policy against the searches and the beam, by the size of the catalogue.

    python -m benchmarks.cost [--quick] [--results <folder>]

Policy and SASRec have the sizes of params.yaml and random weights; items have random attributes and four
random codes, by which the policy reads and writes them. A second policy, of the same layers, has a token
for every item in their place. On a CPU all run with one thread. Alone means one call for each prompt; in a
batch, one call for all. Guides take turns, prompt by prompt, and the median counts; what takes longer than
`SLOW` seconds in its first run takes no turns, and that run counts. Searches score the whole catalogue for
every candidate, and the second policy all of it for every item that it writes, so the larger it is, the
fewer prompts they are given, both in a batch and at once.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.harness import Options, command_line, prepare, publish, timed, with_peak_memory
from benchmarks.scaling import (
    SEED,
    Size,
    catalogue_of,
    mebibytes,
    network_sizes,
    random_prompts,
    t5_sizes,
)
from prorl.config.decoding import Decoding
from prorl.config.guide import Guide as Section
from prorl.config.guide import LookaheadSettings
from prorl.config.section import build
from prorl.guide import Guide
from prorl.guides.beam import BeamSearchGuide
from prorl.guides.lookahead import LookaheadGuide
from prorl.guides.search import SearchGuide
from prorl.params import read_params
from prorl.policy.catalogue import Catalogue
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.recbole_models import CausalSASRec
from prorl.simulators.scoring import InnerProductSimulator
from prorl.t5.model import T5

TITLE = "Where the policy is worth it"
N_PROMPTS, WIDTH, N_ATTRIBUTES = 512, 8, 19
SLOW, SECONDS, MAX_TURNS = 8.0, 20.0, 50
ITEM_IDS = "policy, item IDs"


@dataclass(frozen=True)
class Load:
    """Prompts in a batch, and how many of them a guide searches for at once."""

    batch: int
    at_once: int


# By the number of items. Searches and beam hold several arrays of `at_once` rows, times the candidates that
# `lookahead` looks ahead of and the beam's width, by all items: with these, less than 1 GiB.
LOADS = {
    1_000: {
        "policy": Load(512, 512),
        ITEM_IDS: Load(512, 512),
        "search": Load(512, 128),
        "lookahead": Load(512, 32),
        "beam": Load(512, 16),
    },
    100_000: {
        "policy": Load(512, 512),
        ITEM_IDS: Load(128, 128),
        "search": Load(32, 32),
        "lookahead": Load(8, 8),
        "beam": Load(4, 4),
    },
    1_000_000: {
        "policy": Load(512, 512),
        ITEM_IDS: Load(16, 16),
        "search": Load(4, 4),
        "lookahead": Load(2, 2),
        "beam": Load(2, 2),
    },
}
QUICK = {n: dict.fromkeys(LOADS[1_000], Load(4, 2)) for n in (60, 400)}


@dataclass(frozen=True)
class Cost:
    """Seconds of the runs of one guide, each a call for one prompt alone or for a batch of `load`, and bytes.

    held: what its tables and weights take; peak_bytes: the most a batch held beyond that.
    """

    load: Load
    alone: list[float]
    batches: list[float]
    held: int
    peak_bytes: int

    @property
    def each(self) -> tuple[float, float]:
        """Median seconds of a prompt alone and of one in a batch."""
        return statistics.median(self.alone), statistics.median(self.batches) / self.load.batch


def main() -> None:
    """One line for each guide at each size."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        options = prepare(TITLE, command_line(TITLE).parse_args())
        lines = [
            "| items | guide | alone | times the policy's | a prompt in a batch | times the policy's "
            "| prompts in a batch | weights and tables | peak memory of a batch | runs alone, batches |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        for n_items, loads in (QUICK if options.quick else LOADS).items():
            rows = table(n_items, costs(n_items, loads, options))
            print("\n".join(rows), flush=True)
            lines += rows
        note = (
            f"Medians. The search weighs {settings().n_candidates} candidates a step, lookahead sees what "
            f"may follow {settings().ahead} of them, the beam has {WIDTH} paths under way. "
            "A path has at least {0.min_length} and at most {0.max_length} items.".format(
                read_params().section(Decoding)
            )
        )
        publish(TITLE, [*lines, "", note], options)
    finally:
        torch.set_num_threads(n_threads)


def settings() -> LookaheadSettings:
    """How params.yaml sets the teacher; the search and the beam weigh as many candidates here."""
    own = read_params().section(Section).named["lookahead"]
    return build(LookaheadSettings, own, "guide.lookahead", "params.yaml")


def costs(n_items: int, loads: dict[str, Load], options: Options) -> dict[str, Cost]:
    """What each guide of `loads` costs on a catalogue of `n_items`."""
    guides, held = random_guides(n_items, loads, options)
    prompts = random_prompts(N_PROMPTS, n_items, options.device)
    alone, _ = in_turns({name: one_by_one(guide, prompts) for name, guide in guides.items()}, options)
    batches, peaks = in_turns(
        {name: together(guide, prompts[: loads[name].batch]) for name, guide in guides.items()}, options
    )
    return {name: Cost(loads[name], alone[name], batches[name], held[name], peaks[name]) for name in guides}


def one_by_one(guide: Guide, prompts: Prompts) -> Callable[[int], torch.Tensor]:
    """The path for the prompt whose turn it is, by itself."""
    return lambda turn: guide.paths(prompts[turn : turn + 1])


def together(guide: Guide, prompts: Prompts) -> Callable[[int], torch.Tensor]:
    """The paths for all `prompts`, whatever the turn."""
    return lambda turn: guide.paths(prompts)


def random_guides(
    n_items: int, loads: dict[str, Load], options: Options
) -> tuple[dict[str, Guide], dict[str, int]]:
    """The guides, of random weights, and the bytes that each holds."""
    params, device = read_params(), options.device
    own, sasrec = network_sizes(params, options)
    rules = params.section(Decoding)
    torch.manual_seed(SEED)
    every_item = Trie.from_codes(torch.arange(n_items)[:, None], n_items)
    catalogues = {
        "policy": replace(catalogue_of(Size(n_items=n_items), options)[0], decoding=rules),
        ITEM_IDS: Catalogue(Vocabulary(1, n_items), every_item, rules, "separate").to(device),
    }
    policies = {}
    for name, catalogue in catalogues.items():
        network = T5(t5_sizes(own, catalogue.vocabulary)).to(device).eval().requires_grad_(False)
        policies[name] = PolicyGuide(network, catalogue)
    simulator = InnerProductSimulator(CausalSASRec(sasrec, n_items, max_length=50)).to(device)
    searched = {
        "simulator": simulator,
        "decoding": rules,
        "n_candidates": settings().n_candidates,
        "weights": settings().weights,
        "attribute_words": random_attributes(n_items),
    }
    searches = {
        "search": SearchGuide(**searched, batch_size=loads["search"].at_once),
        "lookahead": LookaheadGuide(
            **searched, batch_size=loads["lookahead"].at_once, ahead=settings().ahead
        ),
        "beam": BeamSearchGuide(**searched, batch_size=loads["beam"].at_once, width=WIDTH),
    }
    held = {
        name: sum(
            table.nbytes for table in (*vars(guide.catalogue.trie).values(), *guide.policy.parameters())
        )
        for name, guide in policies.items()
    }
    of_search = sum(table.nbytes for table in simulator.model.parameters())
    of_search += searched["attribute_words"].nbytes
    return {**policies, **searches}, held | dict.fromkeys(searches, of_search)


def random_attributes(n_items: int) -> np.ndarray:
    """One to three of `N_ATTRIBUTES` attributes of each item as bits, [n + 1, 1]; padding has none."""
    drawn = np.random.default_rng(SEED).integers(0, N_ATTRIBUTES, (n_items + 1, 3), dtype=np.uint64)
    words = np.bitwise_or.reduce(np.uint64(1) << drawn, axis=1)
    words[0] = 0
    return words[:, None]


def in_turns(
    runs: dict[str, Callable[[int], torch.Tensor]], options: Options
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each of `runs`, called with 0, 1, .. in turns, for about `SECONDS` in all; and the most
    bytes that each held beyond those held before.

    Each is called once before, for its memory. Where that call takes more than `SLOW`, or `options.quick`, it
    counts, and there are no turns.
    """
    taken: dict[str, list[float]] = {}
    peaks, taking_turns = {}, []
    for name, run in runs.items():
        started = time.perf_counter()
        _, peaks[name] = with_peak_memory(lambda run=run: run(0), options.device)
        first = time.perf_counter() - started
        if first > SLOW or options.quick:
            taken[name] = [first]
        else:
            taken[name] = []
            taking_turns.append(name)
    started = time.perf_counter()
    for turn in range(MAX_TURNS if taking_turns else 0):
        if turn and time.perf_counter() - started > SECONDS:
            break
        for name in taking_turns if turn % 2 == 0 else reversed(taking_turns):
            taken[name].append(timed(lambda run=runs[name], turn=turn: run(turn), options.device))
    return taken, peaks


def table(n_items: int, costs: dict[str, Cost]) -> list[str]:
    """The lines of one size; costs of the others also as multiples of the policy's."""
    policy = costs["policy"].each
    rows = []
    for name, cost in costs.items():
        alone, in_batch = cost.each
        ratios = [
            "" if name == "policy" else f"{own / of:.1f}" for own, of in zip(cost.each, policy, strict=True)
        ]
        cells = [
            f"{n_items:,}",
            name,
            f"{1e3 * alone:,.1f} ms",
            ratios[0],
            f"{1e3 * in_batch:,.1f} ms",
            ratios[1],
            cost.load.batch,
            mebibytes(cost.held),
            mebibytes(cost.peak_bytes),
            f"{len(cost.alone)}, {len(cost.batches)}",
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


if __name__ == "__main__":
    main()
