"""Greedy evaluation of 6,928 prompts over 3,043 items under two simulators.

    python -m benchmarks.evaluation [--quick] [--results <folder>]

There are as many prompts and items as MovieLens-1M has. The policy and the simulators have the sizes of
params.yaml and random weights; all paths have one length. The obvious version uses Transformers' `generate`
with `prefix_allowed_tokens_fn`, and RecBole's `full_sort_predict` for every prefix. It computes the other
metrics path by path, and the bootstrap resample by resample. It takes an eighth of the prompts, which
covers nearly all users, an eighth of the resamples and an eighth of the pairs that diversity compares.
Eight times its time is therefore the time of the whole.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import Case, Claim, Disagreement, Options, main
from benchmarks.models import TINY_SASREC
from benchmarks.obvious import AllowedTokens, PrefixTree, items_of_tokens, transformers_policy
from benchmarks.recbole_scores import recbole_model, score_prefixes
from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.policy import Policy
from prorl.config.simulator import Simulator
from prorl.evaluation.judge import Judge, greedy_paths
from prorl.metrics.intervals import UserBootstrap
from prorl.params import read_params
from prorl.paths.mining import attribute_words
from prorl.policy.catalogue import Catalogue
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.registry import library_model
from prorl.simulators.scoring import InnerProductSimulator
from prorl.t5.model import T5, T5Sizes

CLAIM = Claim("Evaluation", cpu=10, gpu=10)
LENGTHS = (2, 4, 10)
N_PROMPTS, N_ITEMS, N_USERS, N_ATTRIBUTES = 6928, 3043, 602, 18
EIGHTH = slice(None, None, 8)
MEAN_TOLERANCE = 1e-2  # of the spread of a metric over prompts
INTERVAL_TOLERANCE = 0.3  # of an interval's width: the two draw other resamples
DIVERSITY_TOLERANCE = 1.0  # of its interval's width: the two compare other pairs of paths
SEED = 2026

Intervals = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    intervals: {simulator: {metric: {mean, low, high}}}; spread: each metric's standard deviation over
    prompts.
    """

    intervals: Intervals
    spread: dict[str, dict[str, float]]
    n_prompts: int


@dataclass(frozen=True)
class Setting:
    """What is evaluated: a policy on prompts, two simulators, and each item's attributes."""

    policy: T5
    catalogue: Catalogue
    simulators: dict[str, InnerProductSimulator]
    attributes: list[set[str]]
    prompts: Prompts
    n_resamples: int
    n_pairs: int
    batch_size: int

    def an_eighth(self) -> "Setting":
        """The same with every eighth prompt, and an eighth of the resamples and pairs."""
        return replace(
            self, prompts=self.prompts[EIGHTH], n_resamples=self.n_resamples // 8, n_pairs=self.n_pairs // 8
        )


def cases(options: Options) -> Iterator[Case]:
    """One case per path length."""
    everything = setting(options)
    for length in LENGTHS:
        rules = everything.catalogue.decoding.replace(min_length=length, max_length=length)
        whole = replace(everything, catalogue=replace(everything.catalogue, decoding=rules))
        part = whole.an_eighth()
        obvious = {
            f"Transformers, RecBole and loops in {precision}, {len(part.prompts):,} prompts": partial(
                evaluate_obviously, part, precision
            )
            for precision in ("float32", "bf16")
        }
        yield Case(
            f"{len(whole.prompts):,} prompts, {whole.catalogue.trie.n_items:,} items, paths of {length}",
            lambda whole=whole: evaluate(whole, "bf16"),
            obvious,
            lambda ours, others, part=part: check(evaluate(part, "float32"), next(iter(others.values()))),
            "prompts",
            lambda result: result.n_prompts,
        )


def setting(options: Options) -> Setting:
    """Random weights, semantic IDs, attributes and prompts."""
    generator = np.random.default_rng(SEED)
    params = read_params()
    evaluation, own = params.section(Evaluate), params.section(Policy)
    simulator = params.section(Simulator)
    n_prompts, n_items, n_users, codebook_size, batch_size = (
        N_PROMPTS,
        N_ITEMS,
        N_USERS,
        256,
        evaluation.batch_size,
    )
    sasrec = simulator.SASRec.replace(initializer_range=0.3)  # so that it tells items apart
    if options.quick:
        n_prompts, n_items, n_users, codebook_size, batch_size = 48, 60, 12, 8, 16
        sasrec, own = TINY_SASREC, own.replace(n_layers=1, d_model=16, d_ff=32, d_kv=8, n_heads=2)
    vocabulary = Vocabulary(4, codebook_size)
    codes = np.stack(
        np.unravel_index(generator.choice(codebook_size**4, n_items, replace=False), (codebook_size,) * 4),
        axis=1,
    )
    decoding = Decoding(
        constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=10
    )
    catalogue = Catalogue(
        vocabulary, Trie.from_codes(torch.from_numpy(codes), codebook_size), decoding, "separate"
    )
    torch.manual_seed(SEED)
    sizes = T5Sizes(
        vocabulary.size_with_target_tokens,
        own.n_layers,
        own.d_model,
        own.d_ff,
        own.d_kv,
        own.n_heads,
        dropout=0.0,
    )
    settings = {"SASRec": sasrec, "GRU4Rec": simulator.GRU4Rec}
    simulators = {
        name: InnerProductSimulator(library_model(name)(sizes, n_items, 50))
        for name, sizes in settings.items()
    }
    drawn = torch.from_numpy(
        np.stack([1 + generator.permutation(n_items)[:11] for _ in range(n_prompts)])
    ).to(options.device)
    return Setting(
        T5(sizes).to(options.device).eval(),
        catalogue.to(options.device),
        {name: one.to(options.device) for name, one in simulators.items()},
        [set(), *({f"genre {i}" for i in generator.integers(0, N_ATTRIBUTES, 2)} for _ in range(n_items))],
        Prompts(
            torch.arange(n_prompts, device=drawn.device),
            torch.from_numpy(np.sort(generator.integers(0, n_users, n_prompts))).to(drawn.device),
            drawn[:, :10],
            drawn[:, 10],
        ),
        evaluation.bootstrap_resamples,
        evaluation.diversity_pairs,
        batch_size,
    )


def evaluate(of: Setting, precision: str) -> Evaluation:
    """As the evaluate stage does with greedy paths, written in `precision`."""
    prompts, max_length = of.prompts, of.catalogue.decoding.max_length
    words = attribute_words(pa.array([sorted(own) for own in of.attributes[1:]]), ignored=[])
    judge = Judge(prompts, of.simulators, words, max_length, of.n_pairs, of.batch_size, SEED)
    metrics = judge.metrics(
        greedy_paths(PolicyGuide(of.policy, of.catalogue, precision), prompts, max_length, of.batch_size)
    )
    bootstrap = UserBootstrap.of_users(prompts.user.cpu().numpy(), of.n_resamples, SEED)
    return summarised(metrics, bootstrap.mean)


def evaluate_obviously(of: Setting, precision: str) -> Evaluation:
    """Each part as one writes it first."""
    with torch.autocast(of.prompts.target.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        items = generated(of)
    shape = shape_metrics(of, items.tolist())
    metrics = {
        name: shape | simulated(recbole_model(one), of.prompts, items) for name, one in of.simulators.items()
    }
    user = of.prompts.user.cpu().numpy()
    return summarised(metrics, lambda values: resampled(values, user, of.n_resamples))


def summarised(metrics: dict[str, dict[str, np.ndarray]], interval) -> Evaluation:
    """`interval` of each metric."""
    intervals = {
        simulator: {name: interval(values) for name, values in own.items()}
        for simulator, own in metrics.items()
    }
    spread = {
        simulator: {name: float(np.std(values)) for name, values in own.items()}
        for simulator, own in metrics.items()
    }
    (n_prompts,) = {len(values) for own in metrics.values() for values in own.values()}
    return Evaluation(intervals, spread, n_prompts)


def generated(of: Setting) -> torch.Tensor:
    """Greedy paths [p, t] by Transformers, a batch after the other."""
    model, tree, catalogue = (
        transformers_policy(of.policy, of.catalogue),
        PrefixTree(of.catalogue),
        of.catalogue,
    )
    paths = []
    for history, target in zip(
        of.prompts.history.split(of.batch_size), of.prompts.target.split(of.batch_size), strict=True
    ):
        allowed = AllowedTokens(tree, catalogue, history, target, 1)
        tokens = catalogue.prompt_tokens(history, target)
        written = model.generate(
            input_ids=tokens,
            do_sample=False,
            max_new_tokens=catalogue.n_tokens,
            prefix_allowed_tokens_fn=allowed,
        )
        paths.append(items_of_tokens(tree, catalogue, written[:, 1:], 1)[:, 0])
    return torch.cat(paths)


def simulated(model: torch.nn.Module, prompts: Prompts, items: torch.Tensor) -> dict[str, np.ndarray]:
    """IoI, IoR and CTR [p] of paths `items` [p, t], every prefix by RecBole."""
    scores = score_prefixes(model, prompts.history, items[:, None], prompts.target)
    log_prob, rank, acceptance = (
        x[:, 0].double().cpu().numpy() for x in (scores.log_prob, scores.rank, scores.acceptance)
    )
    length = (items != 0).sum(1).cpu().numpy()
    return {
        "ioi": log_prob[:, -1] - log_prob[:, 0],
        "ior": rank[:, 0] - rank[:, -1],
        "ctr": acceptance.sum(1) / np.maximum(length, 1),
    }


def shape_metrics(of: Setting, rows: list[list[int]]) -> dict[str, np.ndarray]:
    """The metrics that need no simulator, path by path."""
    paths = [[item for item in row if item] for row in rows]
    targets, histories = of.prompts.target.tolist(), of.prompts.history.tolist()
    times = Counter(map(tuple, paths))
    metrics: dict[str, list[float]] = {
        name: [] for name in ("coherence", "repeats", "target_in_path", "history_in_path", "distinct")
    }
    for path, target, history in zip(paths, targets, histories, strict=True):
        pairs = zip(path, [*path[1:], target], strict=True)
        metrics["coherence"].append(
            np.mean([bool(of.attributes[one] & of.attributes[other]) for one, other in pairs])
        )
        metrics["repeats"].append(1 - len(set(path)) / len(path))
        metrics["target_in_path"].append(float(target in path))
        metrics["history_in_path"].append(np.mean([item in history for item in path]))
        metrics["distinct"].append(1 / times[tuple(path)])
    found = {name: np.array(values) for name, values in metrics.items()}
    lengths = np.array([len(path) for path in paths], dtype=float)
    return found | {
        "length": lengths,
        "error": np.zeros(len(paths)),
        "diversity": diversities(of, [set(path) for path in paths]),
    }


def diversities(of: Setting, paths: list[set[int]]) -> np.ndarray:
    """Mean Jaccard distance [p] of each path to some of other users'."""
    generator = np.random.default_rng(SEED)
    user, n = of.prompts.user.cpu().numpy(), len(paths)
    found = []
    for i, path in enumerate(paths):
        distances = []
        while len(distances) < -(-of.n_pairs // n):
            j = int(generator.integers(n))
            if user[j] != user[i]:
                distances.append(1 - len(path & paths[j]) / len(path | paths[j]))
        found.append(np.mean(distances))
    return np.array(found)


def resampled(values: np.ndarray, user: np.ndarray, n_resamples: int) -> dict[str, float]:
    """The mean of `values` [p] and its 95% interval by resampling users, one resample after another."""
    generator = np.random.default_rng(SEED)
    _, group = np.unique(user, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    means = []
    for _ in range(n_resamples):
        drawn = generator.integers(0, len(sums), len(sums))
        means.append(sums[drawn].sum() / counts[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def check(ours: Evaluation, theirs: Evaluation) -> str:
    """Means within `MEAN_TOLERANCE` of a metric's spread, bounds within `INTERVAL_TOLERANCE` of an interval.

    In float32. The versions compare other pairs for diversity, so its mean may be off by
    `DIVERSITY_TOLERANCE` of its interval's width.
    """
    off_mean, off_bound, off_diversity = 0.0, 0.0, 0.0
    for simulator, own in theirs.intervals.items():
        for metric, expected in own.items():
            got, spread = ours.intervals[simulator][metric], theirs.spread[simulator][metric]
            width = max(expected["high"] - expected["low"], 1e-6)
            if metric == "diversity":
                off_diversity = np.max([off_diversity, abs(got["mean"] - expected["mean"]) / width])
            else:
                off_mean = np.max([off_mean, abs(got["mean"] - expected["mean"]) / max(spread, 1e-6)])
                off_bound = np.max(
                    [off_bound, *(abs(got[bound] - expected[bound]) / width for bound in ("low", "high"))]
                )
    found = (
        f"in float32, means within {off_mean:.1g} of a metric's standard deviation, "
        f"bounds within {off_bound:.0%} of an interval's width, diversity within {off_diversity:.0%} of it"
    )
    if not (
        off_mean <= MEAN_TOLERANCE
        and off_bound <= INTERVAL_TOLERANCE
        and off_diversity <= DIVERSITY_TOLERANCE
    ):  # nor for NaN
        raise Disagreement(
            f"{found}; allowed: {MEAN_TOLERANCE:g}, {INTERVAL_TOLERANCE:.0%} and {DIVERSITY_TOLERANCE:.0%}"
        )
    return found


if __name__ == "__main__":
    main(CLAIM, cases)
