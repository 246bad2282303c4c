"""Curves: rows that are written again, and event files."""

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prorl.curves import Curves


def test_curves_write_the_rows_of_an_earlier_part_again(tmp_path):
    first = Curves(tmp_path / "first")
    first.log(1, {"train/loss": 3.0})
    first.log(5, {"train/loss": 2.0, "validation/loss": 2.5})
    second = Curves(tmp_path / "second", json.loads(json.dumps(first.rows)))
    second.log(6, {"train/loss": 1.0})
    second.close()
    assert second.rows == [
        {"step": 1, "values": {"train/loss": 3.0}},
        {"step": 5, "values": {"train/loss": 2.0, "validation/loss": 2.5}},
        {"step": 6, "values": {"train/loss": 1.0}},
    ]
    lines = (tmp_path / "second/plots/metrics/train/loss.tsv").read_text().splitlines()
    assert [line.split("\t")[-2:] for line in lines[1:]] == [["1", "3.0"], ["5", "2.0"], ["6", "1.0"]]
    assert json.loads((tmp_path / "second/metrics.json").read_text())["train"]["loss"] == 1.0


def test_curves_of_a_process_that_does_not_write_keep_their_rows(tmp_path):
    curves = Curves(tmp_path / "curves", enabled=False)
    curves.log(1, {"loss": 3.0})
    curves.close()
    assert curves.rows == [{"step": 1, "values": {"loss": 3.0}}]
    assert not (tmp_path / "curves").exists()


def test_event_files_hold_the_rows_once_and_what_is_not_tracked(tmp_path):
    folder = tmp_path / "events"
    first = Curves(tmp_path / "first", tensorboard=folder)
    first.log(1, {"train/loss": 3.0}, {"tokens_per_second": 70.0})
    first.close()
    second = Curves(tmp_path / "second", first.rows, tensorboard=folder)
    second.log(2, {"train/loss": 2.0}, {"tokens_per_second": 80.0})
    second.close()
    assert [row["values"] for row in second.rows] == [{"train/loss": 3.0}, {"train/loss": 2.0}]
    events = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 3.0), (2, 2.0)]
    assert [(event.step, event.value) for event in events.Scalars("tokens_per_second")] == [(2, 80.0)]
    assert not (tmp_path / "second/plots/metrics/tokens_per_second.tsv").exists()
