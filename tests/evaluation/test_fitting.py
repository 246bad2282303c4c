"""Guides fitted, settings chosen on validation prompts, and what was fitted before taken from the store."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.guide import Guide
from prorl.config.logging import Logging
from prorl.config.section import Settings, build
from prorl.config.selection import Selection
from prorl.evaluation import fitting
from prorl.evaluation.fitting import CURVES, Fitting, validation_prompts
from prorl.evaluation.judge import Judge
from prorl.evaluation.kept import Store
from prorl.evaluation.made_from import of_guide
from prorl.files import read_json, write_json
from prorl.guide import GuideContext, GuideEntry
from prorl.guides.registry import GUIDES, Named, read_guide, written_guides
from prorl.layout import GUIDE_FILE
from tests.tiny_models import guide_data_of, random_simulator, some_prompts

N_ITEMS, T = 30, 4
DECODING = Decoding(constrained=True, forbid=[], min_length=1, max_length=T)
WORDS = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
SELECTION = Selection(simulator="GRU4Rec", prompts=6, on={"length": 1.0})


class LearntSettings(Settings):
    simulator: str = "SASRec"
    n: int
    item: int = 2


class Learnt:
    """Shows the item it was fitted to `n` times."""

    n_items = N_ITEMS

    def __init__(self, settings, context):
        assert list(context.simulators) == [settings.simulator]
        self.n, self.item = settings.n, read_json(context.folder / "item.json")

    def paths(self, prompts):
        path = prompts.target.new_zeros(len(prompts), T)
        path[:, : self.n] = self.item
        return path


def fit(settings, context, session):
    """Writes the item, and counts the calls in the file that it names."""
    assert list(context.folder.iterdir()) == []
    assert context.seed == 5
    write_json(context.folder / "item.json", settings.item)
    (session.curves).mkdir()
    (session.curves / "curve").write_text("1")
    FITTED.append(settings.n)
    return {"loss": 0.5, "n": settings.n}


FITTED = []
LEARNT = GuideEntry(LearntSettings, Learnt, fit)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(GUIDES, "learnt", LEARNT)
    FITTED.clear()


def named(**settings):
    section = build(Guide, {"mine": {"kind": "learnt", **settings}}, "guide", "params.yaml")
    return read_guide("mine", section, ["SASRec", "GRU4Rec"], "params.yaml")


@pytest.fixture
def own(tmp_path):
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    context = GuideContext(
        *(simulators, DECODING, WORDS, guide_data_of(N_ITEMS), torch.device("cpu"), "float32", 1),
        "params.yaml",
        tmp_path / "guides",
    )
    judge = Judge(some_prompts(6, N_ITEMS), {"GRU4Rec": simulators["GRU4Rec"]}, WORDS, T, 6, 6, 1)
    logging = Logging(every_seconds=60, tensorboard=False)
    digests = {"SASRec": "a", "GRU4Rec": "b"}
    return Fitting("own", context, 5, "data", digests, {}, logging, Store(tmp_path / "store"), judge)


def chosen(own, guide, folder, selection=SELECTION):
    folder.mkdir(parents=True)
    found = own.chosen(guide, selection, folder)
    write_json(folder / GUIDE_FILE, {"kind": guide.kind, **found, "outside": {}})
    return found


def test_a_guide_is_fitted_once_into_its_folder_with_its_curves(own, tmp_path):
    guide = named(n=3)
    for place in ("guides", "again"):
        found = chosen(own, guide, tmp_path / place / "mine")
        settings = {"simulator": "SASRec", "n": 3, "item": 2}
        assert found == {"settings": settings, "tried": [], "figures": {"loss": 0.5, "n": 3}}
        assert (tmp_path / place / "mine" / CURVES / "curve").read_text() == "1"
    assert FITTED == [3]
    (built, guide), *_ = written_guides(["mine"], own.context).values()
    assert built.kind == "learnt"
    assert guide.paths(some_prompts(2, N_ITEMS)).tolist() == [[2, 2, 2, 0]] * 2


def test_the_best_of_the_settings_tried_is_kept_and_all_are_told(own, tmp_path):
    guide = named(n=1, tried=[{}, {"n": 3}, {"n": 2, "item": 4}])
    found = chosen(own, guide, tmp_path / "guides" / "mine")
    assert found["settings"] == {"simulator": "SASRec", "n": 3, "item": 2}
    assert [own["settings"]["n"] for own in found["tried"]] == FITTED == [1, 3, 2]
    assert [own["score"] for own in found["tried"]] == [1.0, 3.0, 2.0]
    assert found["tried"][2]["metrics"]["repeats"] == 0.5
    assert read_json(tmp_path / "guides" / "mine" / "item.json") == 2

    other = SELECTION.replace(on={"length": -1.0, "repeats": -9.0})
    again = chosen(own, guide, tmp_path / "again", other)
    assert again["settings"]["n"] == 1
    assert [own["score"] for own in again["tried"]] == pytest.approx([-1.0, -9.0, -6.5])
    assert FITTED == [1, 3, 2], "other weights fit nothing again"


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"data": "other"}, True),
        ({"simulators": {"SASRec": "other", "GRU4Rec": "b"}}, True),
        ({"simulators": {"SASRec": "a", "GRU4Rec": "other"}}, False),
        ({"training_seed": 5, "outside": {"x": "y"}}, True),
        ({"judge": None}, False),
    ],
)
def test_a_guide_is_fitted_again_where_what_it_is_made_from_has_changed(own, tmp_path, change, again):
    guide = named(n=3)
    chosen(own, guide, tmp_path / "one")
    chosen(replace(own, **change), guide, tmp_path / "two")
    assert [3] * (1 + again) == FITTED


def test_other_code_of_its_kind_fits_a_guide_again_and_that_of_others_does_not(own, tmp_path, monkeypatch):
    chosen(own, named(n=3), tmp_path / "one")
    monkeypatch.setitem(GUIDES, "other", GuideEntry(LearntSettings, Learnt))
    chosen(own, named(n=3), tmp_path / "two")
    assert FITTED == [3]
    real = fitting.of_guide
    monkeypatch.setattr(fitting, "of_guide", lambda *parts: real(*parts) + "changed")
    chosen(own, named(n=3), tmp_path / "three")
    assert FITTED == [3, 3]


def test_settings_that_name_no_simulator_get_none_and_kinds_from_outside_get_all():
    class Plain(Settings):
        n: int = 1

    entry = GuideEntry(Plain, Learnt)
    assert Named("a", "learnt", entry, [Plain()]).simulators_named(Plain(), ["SASRec"]) == []
    outside = Named("a", "tests.guides.outside:ONE_ITEM", entry, [Plain()])
    assert outside.simulators_named(Plain(), ["SASRec"]) == ["SASRec"]


def test_validation_prompts_are_a_sample_drawn_by_the_seed():
    instances = guide_data_of(N_ITEMS).validation
    prompts = validation_prompts(instances, SELECTION, 3)
    assert len(prompts) == 6
    assert torch.equal(prompts.number, validation_prompts(instances, SELECTION, 3).number)
    assert not torch.equal(prompts.number, validation_prompts(instances, SELECTION, 4).number)
    numbers = prompts.number.numpy()
    np.testing.assert_array_equal(prompts.target.numpy(), instances.random_target[numbers])


def test_the_code_of_kinds_that_settings_name_counts(monkeypatch):
    class Choosing(Settings):
        guides: dict[str, dict]

    simulators = {"SASRec": "a"}
    monkeypatch.setitem(GUIDES, "choosing", GuideEntry(Choosing, Learnt))
    guide = Named("mine", "choosing", GUIDES["choosing"], [Choosing(guides={"learnt": {"n": 1}})])
    before = of_guide(guide, guide.options[0], "data", simulators)
    assert of_guide(guide, guide.options[0], "data", simulators) == before
    monkeypatch.setitem(GUIDES, "learnt", GUIDES["beam"])
    assert of_guide(guide, guide.options[0], "data", simulators) != before
