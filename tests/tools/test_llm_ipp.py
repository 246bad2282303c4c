"""The run of a language model on a sample of validation prompts, here with a scripted one."""

import numpy as np
import pytest

from prorl.config.section import ConfigError
from prorl.metrics.registry import METRICS
from tests.guides.scripted import scripted_model  # noqa: F401
from tests.guides.test_rules import N_ITEMS
from tests.tiny_models import PARAMS, guide_data_of, random_simulator
from tools import llm_ipp


@pytest.fixture
def finished_run(monkeypatch):
    """What a run on a few items has left behind."""
    monkeypatch.setattr(llm_ipp, "guide_data", lambda layout: guide_data_of(N_ITEMS))
    monkeypatch.setattr(
        llm_ipp, "load_simulator", lambda folder, own, device: random_simulator(N_ITEMS, folder.name)
    )
    monkeypatch.setattr(llm_ipp, "read_table", lambda path, schema: {"attributes": []})
    words = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
    monkeypatch.setattr(llm_ipp, "attribute_words", lambda attributes, ignored: words)


def test_results_hold_counts_metrics_and_examples(finished_run, scripted_model, capsys):  # noqa: F811
    found = llm_ipp.run(PARAMS, "ml-100k", 6)
    assert (found["split"], found["prompts"]) == ("validation", 6)
    assert found["settings"]["style"] == "tree_of_thought"
    answers = found["answers"]
    assert answers["answers"] == 6
    assert answers["titles"] > 0
    assert answers["titles"] - answers["unmatched"] - answers["forbidden"] + answers["added"] >= 6 * 8
    for part in ("metrics", "popular"):
        assert list(found[part]) == PARAMS.simulators
        assert set(found[part]["SASRec"]) == set(METRICS)
        assert found[part]["SASRec"]["length"] >= 8
    assert found["metrics"] != found["popular"]
    assert len(found["examples"]) == 4
    assert all(len(example["path"]) >= 8 for example in found["examples"])
    assert "seconds a prompt" in capsys.readouterr().err
    assert llm_ipp.run(PARAMS, "ml-100k", 6) == found


def test_a_sample_has_at_least_one_prompt():
    with pytest.raises(ConfigError, match=r"^--prompts: got 0, allowed: at least 1$"):
        llm_ipp.main(["--prompts", "0"])
