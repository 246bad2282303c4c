"""What settings must agree on: one line where they do not, and none where they do."""

import pytest

from prorl.check import findings, require
from prorl.config.section import ConfigError
from prorl.metrics.registry import METRICS
from prorl.names import REGISTRIES
from prorl.params import laid_over
from tests.test_check import RELEASED, params_with

UNTOLD = {"acceptances": [], "acceptance": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"simulator": {"max_length": 19}},
            "simulator.max_length: got 19 for ml-100k, "
            "allowed: at least mine.history_length + decoding.max_length, 20",
        ),
        (
            {"simulator": {"max_length": 20}, "validate": {"length": 12}},
            "simulator.max_length: got 20 for ml-100k, "
            "allowed: at least validate.history_length + validate.length - 1, 21",
        ),
        (
            {"selection": {"simulator": "BERT5Rec"}},
            "selection.simulator: got 'BERT5Rec', allowed: one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
        (
            {"release": {"simulator": "BERT5Rec"}},
            "release.simulator: got 'BERT5Rec' for ml-100k, "
            "allowed: null, or one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
        (
            {
                "simulators": ["SASRec", "GRU4Rec", "Mine"],
                "simulator": {"Mine": {"class": "own:Mine", "settings": {}}},
                "release": {"simulator": "Mine"},
            },
            "release.simulator: got 'Mine' for ml-100k, "
            "allowed: null, or a simulator of the library, which needs no code beside it",
        ),
        (
            laid_over(RELEASED, {"guardrails": {"blocked_items": ["50"]}}),
            "guardrails.blocked_items: got ['50'] for ml-100k, "
            "allowed: [] where decoding.constrained is false",
        ),
        (
            laid_over(RELEASED, {"guardrails": {"blocked_attributes": ["Horror"]}}),
            "guardrails.blocked_attributes: got ['Horror'] for ml-100k, "
            "allowed: [] where decoding.constrained is false",
        ),
        (
            {"finetune": {"steps": 5, "centering_steps": 1, "estimator": "a2c"}, "policy": UNTOLD},
            "finetune.a2c.warmup_steps: got 10, allowed: less than finetune.steps, 5",
        ),
        (
            {"finetune": {"centering_steps": 7}},
            "finetune.centering_steps: got 7, allowed: at least 8, "
            "in which each of policy.acceptances is told once",
        ),
        (
            {"finetune": {"steps": 60}},
            "finetune.centering_steps: got 8, allowed: at most a tenth of finetune.steps, 6",
        ),
        (
            {"finetune": {"init_from": "a.pth"}},
            "policy.target_tokens: got separate for ml-100k, "
            "allowed: shared where finetune.init_from is a released policy, a.pth",
        ),
        (
            {"finetune": {"init_from": "a.pth"}, "policy": {"identifiers": "item"}},
            "policy.identifiers: got item for ml-100k, "
            "allowed: semantic where finetune.init_from is a released policy, a.pth",
        ),
        (
            laid_over(RELEASED, {"finetune": {"empty_paths": "forbid"}}),
            "finetune.empty_paths: got forbid, allowed: act or drop where decoding.min_length is 0",
        ),
        (
            laid_over(RELEASED, {"finetune": {"ml-100k": {"estimator": "expected", "item_log_prob": "sum"}}}),
            "finetune.estimator: got expected, allowed: another where decoding.constrained is false",
        ),
        (
            {"fetch": {"source": "tabular"}, "prepare": {"tabular": {"items": {"item": None}}}},
            "prepare.tabular.items.item: got null for ml-100k, allowed: the name of a column",
        ),
        ({"embed": {"model": None}}, "embed.model: got None (NoneType), allowed: text"),
        (
            {"quantize": {"ml-100k": {"n_codebooks": 1, "expand_final": False}}},
            "quantize.n_codebooks: got 1, allowed: at least 2 where quantize.expand_final is false",
        ),
        (
            {"mine": {"ml-100k": {"max_run": 12}}},
            "mine.max_run: got 12 for ml-100k, allowed: at most decoding.max_length and the target, 11",
        ),
        (
            {"mine": {"ml-100k": {"import": "files/ml"}}},
            "prepare.split_from: got None for ml-100k, allowed: mine.import, 'files/ml', "
            "whose validation and test users no simulator may train on",
        ),
        (
            {"finetune": {"weights": {"ctr": 0, "ioi": 0, "ior": 0, "coherence": 0}}},
            "finetune.weights: got {'ctr': 0.0, 'ioi': 0.0, 'ior': 0.0, 'coherence': 0.0}, "
            "allowed: at least one weight above 0",
        ),
        (
            {"simulators": ["GRU4Rec"]},
            "reduce.simulator: got 'SASRec', allowed: one of `simulators`, ['GRU4Rec']",
        ),
        (
            {"simulators": ["GRU4Rec"], "reduce": {"simulator": "GRU4Rec"}},
            "pretrain.simulator: got 'SASRec', allowed: one of `simulators`, ['GRU4Rec']",
        ),
        (
            {
                "decoding": {"constrained": False, "forbid": [], "min_length": 0},
                "finetune": {"empty_paths": "act"},
            },
            "pretrain.search.own_paths_after: got 0.5, allowed: null where decoding.constrained is false",
        ),
        (
            {"pretrain": {"search": {"share": 0.5}}},
            "policy.acceptances: got [0.0, 0.25, 0.5, 0.75, 1.0] for ml-100k, "
            "allowed: empty where pretrain.search is not fresh, or its share is below 1",
        ),
        ({"quantize": {"method": "x"}}, "quantize.method: got 'x' (str), allowed: rq_kmeans, rq_vae"),
        (
            {"pretrain": {"select_on": {"iou": 1}}},
            f"pretrain.select_on: got 'iou' (str), allowed: {', '.join(METRICS)}",
        ),
        (
            {"finetune": {"weights": {"new": 1}}},
            "finetune.weights: got 'new' (str), allowed: ctr, ioi, ior, coherence",
        ),
        (
            {"finetune": {"weights": {"a:b": 1}}},
            "finetune.weights: got 'a:b' (str), allowed: ctr, ioi, ior, coherence",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_settings_do_not_agree_on_is_one_line(changes, message):
    assert f"params.yaml: {message}" in findings(params_with(changes), REGISTRIES)
    with pytest.raises(ConfigError, match=r"params\.yaml: ") as error:
        require(params_with(changes), REGISTRIES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"finetune": {"steps": 5, "centering": "running"}},
        {"finetune": {"steps": None, "epochs": 1, "centering_steps": 40}},
        {"finetune": {"steps": 5, "centering_steps": 1}, "policy": UNTOLD},
        {"finetune": {"centering_steps": 1, "init_from": "a/policy"}},
        {"embed": {"model": "some/model"}, "reduce": {"dimension": 999}},
        {"pretrain": {"search": {"share": 0}}, "policy": UNTOLD},
        {"finetune": {"estimator": "my_package.my_module:estimator"}},
        {"finetune": {"init_from": "a.pth"}, "policy": {"target_tokens": "shared", **UNTOLD}},
        {"finetune": {"init_from": "models/policies/ml-100k/prorl"}},
    ],
    ids=str,
)
def test_what_agrees_or_is_known_to_a_stage_alone_is_no_mistake(changes):
    assert findings(params_with(changes), REGISTRIES) == []
