"""The headline numbers of a data set."""

import pytest

from prorl.errors import DataError
from prorl.files import read_json, write_json
from prorl.reports.summary import COMPARED, summary
from tests.reports.written_inputs import read_all

SIMULATORS = ["SASRec", "GRU4Rec"]


def leaves(value):
    """The numbers of nested mappings, by dotted name."""
    if not isinstance(value, dict):
        return {"": value}
    return {
        f"{key}.{name}".rstrip("."): leaf
        for key, part in value.items()
        for name, leaf in leaves(part).items()
    }


@pytest.fixture
def told_apart(copied):
    """Inputs in which every mean is a number of its own, and search was evaluated."""
    path = copied / "reports/evaluation.json"
    evaluation = read_json(path)
    evaluation["search"] = evaluation["pretrained"]
    names = [
        (guide, simulator, metric)
        for guide in ("pretrained", "prorl", "search")
        for simulator in ("GRU4Rec", "SASRec")
        for metric in ("ioi", "ior", "ctr", "coherence", "distinct")
    ]
    means = {name: place + 0.123449 for place, name in enumerate(names)}
    write_json(
        path,
        {
            guide: {
                simulator: {
                    metric: {"mean": means[guide, simulator, metric], "low": None, "high": None}
                    for metric in ("ioi", "ior", "ctr", "coherence", "distinct")
                }
                for simulator in ("GRU4Rec", "SASRec")
            }
            for guide in evaluation
        },
    )
    for place, simulator in enumerate(SIMULATORS):
        metrics = copied / f"reports/simulator/{simulator}.json"
        report = read_json(metrics)
        report["test"]["mrr@10"] = 0.1 + place + 1e-6
        report["validation"]["mrr@10"] = 7.0
        write_json(metrics, report)
    quantize = read_json(copied / "reports/quantize.json")
    write_json(copied / "reports/quantize.json", {**quantize, "items": 937, "distinct_share": 900 / 937})
    return read_all(copied), {name: round(mean, 2 if name[2] == "ior" else 4) for name, mean in means.items()}


def test_eighteen_numbers_each_from_its_own_place(told_apart):
    inputs, means = told_apart
    found = leaves(summary(inputs, SIMULATORS))
    assert len(found) == 18
    assert found == {
        **{
            f"prorl.{simulator}.{metric}": means["prorl", simulator, metric]
            for simulator in SIMULATORS
            for metric in ("ioi", "ior", "ctr")
        },
        "prorl.coherence": means["prorl", "SASRec", "coherence"],
        "prorl.distinct": means["prorl", "SASRec", "distinct"],
        **{
            f"{name}.SASRec.{metric}": means[guide, "SASRec", metric]
            for name, guide in COMPARED.items()
            for metric in ("ioi", "ctr")
        },
        **{f"{name}.coherence": means[guide, "SASRec", "coherence"] for name, guide in COMPARED.items()},
        "mrr@10.SASRec": 0.1,
        "mrr@10.GRU4Rec": 1.1,
        "instances": 20,
        "distinct_codes": 900,
    }


def test_the_first_simulator_is_the_settings_and_not_the_files(told_apart):
    inputs, means = told_apart
    found = leaves(summary(inputs, SIMULATORS[::-1]))
    assert found["start.GRU4Rec.ioi"] == means["pretrained", "GRU4Rec", "ioi"]
    assert found["prorl.coherence"] == means["prorl", "GRU4Rec", "coherence"]


def test_search_is_left_out_where_it_was_not_evaluated(copied):
    path = copied / "reports/quantize.json"
    write_json(path, {**read_json(path), "distinct_share": 1.0})
    found = summary(read_all(copied), SIMULATORS)
    assert "search" not in found
    assert len(leaves(found)) == 15


def test_a_simulator_without_results_is_named(inputs):
    with pytest.raises(DataError, match="nothing about simulator 'Caser'"):
        summary(inputs, ["SASRec", "Caser"])
