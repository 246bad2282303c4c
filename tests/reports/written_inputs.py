"""The outputs of all stages, small and written by hand, as the report stage finds them."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from prorl.config.decoding import Decoding
from prorl.config.report import Examples, Report
from prorl.config.selection import Selection
from prorl.files import write_json
from prorl.layout import GUIDE_FILE, IDS_FILE, Layout
from prorl.reports.inputs import example_metrics, greedy_paths_schema, read_inputs
from prorl.reports.ranking import Benchmark, Roles
from prorl.tables import ITEMS, SEMANTIC_IDS, write_table

EXAMPLES = Report(examples=Examples(best=1, median=0, worst=1, random=0))
NO_EXAMPLES = Report(examples=Examples(best=0, median=0, worst=0, random=0))
COMMANDS = ["python stages/fetch.py ml-100k"]
POLICIES = ("pretrained", "prorl")
SIMULATORS = ("GRU4Rec", "SASRec")
LENGTHS = [
    {"length": n, "prompts": 4 - n, "ioi": n / 4, "ior": 10.0 * n, "ctr": 0.5, "coherence": 1.0}
    for n in (1, 2)
]
TITLES = ["Alien", "Brazil", "Clue & <Co>", "Dune", "Eraserhead"]
BENCHMARK = Benchmark(
    Selection(simulator="GRU4Rec", prompts=3, on={"ioi": 1.0, "ctr": 30.0}),
    Decoding(constrained=True, forbid=["repeats", "target"], min_length=1, max_length=10),
    {
        "pretrained": Roles(trained_on=["SASRec"]),
        "prorl": Roles(trained_on=["SASRec"]),
        "search": Roles(steers=["SASRec"]),
    },
)


def write_all(folder):
    """Write `reports/`, `per_prompt.parquet`, `items.parquet` and semantic IDs into `folder`."""
    reports = folder / "reports"
    write_data_metrics(reports)
    write_training_metrics(reports)
    write_results(reports)
    write_trust(reports)
    for simulator in SIMULATORS:
        write_curve(
            reports / "curves/simulator" / simulator / "plots/metrics/validation/mrr@10.tsv",
            [0.01, 0.03, 0.04],
        )
    for part in ("train", "validation"):
        write_curve(reports / "curves/pretrain/plots/metrics" / part / "loss.tsv", [4.0, 2.0, 1.5])
    write_curve(reports / "curves/finetune/plots/metrics/train/kl.tsv", [0.0, 0.25])
    write_tables(folder)


@dataclass(frozen=True)
class Written(Layout):
    """Where `write_all` writes."""

    folder: Path

    @property
    def reports(self):
        return self.folder / "reports"

    def guide(self, name):
        return self.folder / "guides" / name

    @property
    def per_prompt(self):
        return self.folder / "per_prompt.parquet"

    @property
    def semantic_ids(self):
        return self.folder

    @property
    def items(self):
        return self.folder / "items.parquet"


def read_all(folder, simulators=SIMULATORS, guides=()):
    """What `write_all` wrote, as the report's inputs."""
    return read_inputs(Written("ml-100k", folder), list(simulators), list(guides))


def write_guide(folder, name, **record):
    """The guide.json of a guide."""
    settings = {"simulator": "SASRec", "n_candidates": 4}
    plain = {"kind": name, "fitted": False, "settings": settings, "tried": [], "figures": {}, "outside": {}}
    write_json(folder / "guides" / name / GUIDE_FILE, plain | record)


def write_data_metrics(reports):
    counts = {"users": 9, "items": 5, "interactions": 1234}
    split = {"train": {"users": 7, "interactions": 99}}
    write_json(
        reports / "prepare.json",
        {"raw": counts, "dropped": {"users_below_minimum": counts}, "kept": counts, "split": split},
    )
    runs = {"runs_too_short": 5, "runs_too_long": 1, "runs_open_at_end": 9}
    write_json(reports / "mine.json", {"instances": {"train": 20, "validation": 3, "test": 2}, **runs})
    write_json(
        reports / "quantize.json",
        {
            "embedding_model": "lsa",
            "beside_embeddings": None,
            "level_1": {"used_codes": 2, "perplexity": 1.9},
            "items": 5,
        },
    )


def write_training_metrics(reports):
    ranking = {"mrr@10": 0.04, "recall@10": 0.1, "ndcg@10": 0.05}
    popularity = {"validation": {**ranking, "mrr@10": 0.011}, "test": ranking}
    training = {"best_epoch": 3, "epochs": 5, "untouched_items": 1, "n_items": 5}
    for name in SIMULATORS:
        write_json(
            reports / "simulator" / f"{name}.json",
            {"validation": ranking, "test": ranking, "popularity": popularity, **training},
        )
    search = {
        "paths": 4000,
        "fresh": True,
        "share": 0.6,
        "seen": 1,
        "own_paths_after": None,
        "ioi": 3.25,
        "ior": 250.0,
        "ctr": 0.6,
        "length": 3.5,
    }
    pretrain = {
        "steps": 1200,
        "best_step": 1000,
        "stopped": "flattened",
        "validation_loss": 1.5,
        "search": search,
    }
    write_json(reports / "pretrain.json", {**pretrain, "validation": {"ioi": 1.5, "ior": 100.0}})
    finetune = {"steps": 60, "best_step": 50, "centering": {"ioi": {"mean": 0.25, "std": 0.5}}}
    write_json(
        reports / "finetune.json",
        {**finetune, "validation_initial": {"ioi": 1.5}, "validation": {"ioi": 2.5, "distinct": 0.9}},
    )


def interval(mean):
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.25}


def judged(ioi):
    """One policy's results under one simulator."""
    greedy = {
        "ioi": interval(ioi),
        "ior": interval(40 * ioi),
        "ctr": interval(0.5),
        "coherence": interval(0.5),
        "error": interval(0.0),
    }
    best = {
        f"rollout@{k}": {metric: interval(ioi + k / 10) for metric in ("ioi", "ior", "ctr")}
        for k in (1, 5, 10)
    }
    return {**greedy, "length": interval(2.0), "distinct": {"mean": 0.75, "low": None, "high": None}, **best}


def write_results(reports):
    evaluation = {
        policy: {name: judged(1.0 + index) for name in SIMULATORS} for index, policy in enumerate(POLICIES)
    }
    metrics = {metric: interval(1.0) for metric in ("ioi", "ior", "ctr", "coherence")}
    evaluation["prorl"]["SASRec"] |= {"beam@4": metrics, "target@40": metrics, "target@20": metrics}
    write_json(reports / "evaluation.json", evaluation)
    metrics = {"ioi": 1.0, "ior": 40.0, "ctr": 0.0, "coherence": 0.0}
    difference = {metric: interval(mean) | {"p": 0.01 if mean else 1.0} for metric, mean in metrics.items()}
    write_json(reports / "validation.json", evaluation)
    write_json(reports / "lengths.json", {guide: dict.fromkeys(SIMULATORS, LENGTHS) for guide in POLICIES})
    line = [{"acceptance": a, **{n: {"ctr": a, "ioi": 2 - a} for n in SIMULATORS}} for a in (0.25, 0.75)]
    write_json(reports / "frontier.json", {"prorl": line})
    write_json(reports / "comparison.json", {"prorl - pretrained": dict.fromkeys(SIMULATORS, difference)})


def write_trust(reports):
    """What `validate` finds of each simulator, and the gates."""
    before, after = (
        {
            "ece": interval(ece),
            "log_loss": interval(0.5),
            "bins": [
                {"from": 0.0, "to": 0.5, "share": 0.25, "acceptance": 0.125, "real": ece},
                {"from": 0.5, "to": 1.0, "share": 0.75, "acceptance": 0.875, "real": 1 - ece},
            ],
        }
        for ece in (0.375, 0.125)
    )
    compared = {
        "real": interval(0.5),
        "simulated": interval(0.75),
        "ks": interval(0.25),
        "ks_of_real": 0.0625,
    }
    found = {
        "users": {"validation": 3, "test": 2},
        "places": {"validation": 30, "test": 1200},
        "history_length": 10,
        "next_item": {"mrr@10": interval(0.25)},
        "auc": {"acceptance": interval(0.875), "popularity": interval(0.625), "sampled": 20},
        "calibration": {"ratio": 1.5, "temperature": 1.625, "before": before, "after": after},
    }
    statistics = ("attribute_repeats", "popularity", "item_repeats")
    stretches = {"stretches": 9, "length": 10, **dict.fromkeys(statistics, compared)}
    for name, continuations in zip(SIMULATORS, (stretches, {"none": "no validation user"}), strict=True):
        write_json(reports / f"validate/{name}.json", {**found, "continuations": continuations})
    pair = {
        "guides": ["pretrained", "prorl", "popular"],
        "kendall": interval(0.5),
        "spearman": interval(0.75),
    }
    few = {"guides": ["prorl"], "kendall": None, "spearman": None}
    gates = {
        "above_start": {
            "asks": "score less that of its start",
            "value": interval(1.0),
            "allowed": {"above": 0.0},
            "verdict": "pass",
            "parts": {"ioi": interval(0.5)},
        },
        "blocked": {
            "asks": "paths with one of 3 blocked items",
            "value": {"mean": 2, "low": None, "high": None},
            "allowed": {"at most": 0.0},
            "verdict": "fail",
        },
        "judges_agree": {
            "asks": "least Kendall's tau",
            "value": None,
            "allowed": {"at least": 0.5},
            "verdict": "missing",
            "why": "one judge alone",
        },
    }
    write_json(
        reports / "gate.json",
        {
            "policy": "prorl",
            "start": "pretrained",
            "judge": "GRU4Rec",
            "passed": False,
            "score": {"ioi": 1.0, "ctr": 30.0},
            "gates": gates,
            "agreement": {"score": {"GRU4Rec ~ SASRec": pair}, "ioi": {"GRU4Rec ~ SASRec": few}},
        },
    )


def write_curve(path, values):
    """A curve as DVCLive writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{10 * step}\t{value}\n" for step, value in enumerate(values))
    path.write_text(f"step\t{path.stem}\n{rows}", encoding="utf-8")


def write_tables(folder):
    """Greedy paths of every policy on three prompts under every simulator, and the items."""
    paths = [[1], [2, 3], [3, 3]]
    rows = [
        {
            "policy": policy,
            "simulator": name,
            "prompt": prompt,
            "target": 4,
            "path": path,
            **dict.fromkeys(example_metrics(), 0.25),
            "ioi": 0.5 * prompt,
            "ior": 10.0,
            "steps/log_prob": [-4.0 + 0.25 * prompt * step for step in range(len(path) + 1)],
            "steps/rank": [40.0 - 10.0 * step for step in range(len(path) + 1)],
        }
        for policy in reversed(POLICIES)
        for name in SIMULATORS
        for prompt, path in enumerate(paths)
    ]
    schema = greedy_paths_schema()
    write_table(folder / "per_prompt.parquet", pa.Table.from_pylist(rows, schema=schema), schema)
    items = [
        {"item": i, "raw_id": str(i), "title": title, "attributes": [], "text": title}
        for i, title in enumerate(TITLES, start=1)
    ]
    codes = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 1]]
    ids = {"item": range(1, 6), "codes": codes, "tokens": codes}
    write_table(folder / IDS_FILE, pa.table({k: list(v) for k, v in ids.items()}), SEMANTIC_IDS)
    write_table(folder / "items.parquet", pa.Table.from_pylist(items, schema=ITEMS), ITEMS)
