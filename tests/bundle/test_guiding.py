"""Paths of a released policy: whose rules, how likely, for whom."""

import itertools
import math
from collections import Counter

import pytest
import torch
from transformers import T5ForConditionalGeneration

from prorl.bundle.paths import reasons
from prorl.bundle.policy import load_policy
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.policy.catalogue import Catalogue
from tests.bundle.made import attributes_of, catalogue_of, histories_of, make_bundle
from tests.policy import naive


def numbers(path):
    return [item.item for item in path.items]


class Theirs:
    """Transformers' T5 in the place of ours: padding is masked by an attention mask."""

    def __init__(self, folder):
        self.model = T5ForConditionalGeneration.from_pretrained(folder).double().eval()

    def __call__(self, prompt, tokens):
        found = self.model(
            input_ids=prompt, attention_mask=(prompt != 0).long(), decoder_input_ids=tokens[:, 0]
        )
        return found.logits[:, None]

    def logits(self, state, ids):
        return state[ids]


@pytest.mark.parametrize("length", [1, 3, 4])
def test_a_short_history_is_masked_as_transformers_masks_it(released, policy, length):
    theirs, catalogue = Theirs(released), policy._catalogue.at(1.0)
    history, target = [f"r{3 + i}" for i in range(length)], "r20"
    for path in policy.guide(history, target, acceptance=1.0, n=3, temperature=0.7, seed=length):
        padded = torch.tensor([0] * (4 - length) + [3 + i for i in range(length)])
        expected = naive.action_log_probs(theirs, catalogue, padded, torch.tensor(20), numbers(path), 0.7)
        given = [*path.propensities, *([path.stop_propensity] if len(expected) > len(path.items) else [])]
        assert given == pytest.approx([math.exp(one) for one in expected], rel=1e-4)


def test_the_last_items_of_a_history_count_and_none_is_shown_again(policy):
    short = ["r1", "r2", "r3", "r4"]
    (plain,) = policy.guide(short, "r20")
    long = [*(item.raw_id for item in plain.items), *short]
    (path,) = policy.guide(long, "Title 20")
    assert [item.raw_id for item in path.history] == short
    assert not {item.raw_id for item in path.items} & set(long)
    assert policy.guide(short, "r20", avoid=long) == [path] != [plain]
    assert path.target.title == "Title 20"
    assert path.propensities == (1.0,) * len(path.items)
    assert path.stop_propensity == 1.0


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A policy over eight items."""
    root = tmp_path_factory.mktemp("few")
    return load_policy(make_bundle(root, catalogue_of(8, codebook_size=2, min_length=1, max_length=2)), "cpu")


def test_propensities_sum_to_one_over_all_paths_and_agree_with_what_is_drawn(few):
    n = 6000
    paths = few.guide(
        ["r1", "r2"], "r3", n=n, temperature=1.5, avoid=["r4"], length=(1, 2), acceptance=0.0, seed=3
    )
    count = Counter(tuple(numbers(path)) for path in paths)
    probability = {
        tuple(numbers(path)): math.prod(path.propensities) * path.stop_propensity for path in paths
    }
    allowed = [5, 6, 7, 8]
    every = [*itertools.permutations(allowed, 1), *itertools.permutations(allowed, 2)]
    assert sorted(count) == sorted(every)
    assert sum(probability.values()) == pytest.approx(1, abs=1e-5)
    for path in every:
        p = probability[path]
        assert count[path] / n == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / n))
    assert all(path.stop_propensity == 1.0 for path in paths if len(path.items) == 2), "the longest"


def test_an_exact_length_leaves_no_choice_to_stop(few):
    paths = few.guide(["r1"], "r3", n=200, length=1)
    assert {len(path.items) for path in paths} == {1}
    assert all(path.stop_propensity == 1.0 for path in paths)
    probability = {tuple(numbers(path)): path.propensities[0] for path in paths}
    assert sum(probability.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("length", "expected"), [(3, {3}), ((2, 3), {2, 3}), (1, {1}), (None, {2, 3, 4})])
def test_lengths(policy, length, expected):
    found = policy.guide(histories_of(40, 30), "r20", length=length, n=4, temperature=2.0)
    assert {len(path.items) for paths in found for path in paths} == expected


def test_what_is_to_be_avoided_is_in_no_path(policy):
    histories = histories_of(20, 30)
    for path in itertools.chain(*policy.guide(histories, "r20", avoid=["western", "r1", "Title 2"])):
        assert not {item.item for item in path.items} & {1, 2}
        assert not any("Western" in item.attributes for item in path.items)
    plain = [path for paths in policy.guide(histories, "r20") for path in paths]
    first = plain[0].items[0]
    (again,) = policy.guide(histories[0], "r20", shown=[first])
    assert first not in again.items


def test_blocked_items_stay_blocked_whatever_else_is_avoided(tmp_path):
    blocked = tuple(f"r{i}" for i in range(10, 25))
    policy = load_policy(make_bundle(tmp_path, catalogue_of(), blocked=blocked), "cpu")
    for avoid in ((), ["r25"]):
        for paths in policy.guide(histories_of(20, 9), "r30", n=3, avoid=avoid):
            for path in paths:
                assert not {item.raw_id for item in path.items} & {*blocked, *avoid}


def test_acceptance_is_told(policy):
    history = ["r1", "r2", "r3", "r4"]
    told = {a: policy.guide(history, "r20", n=3, acceptance=a)[0].propensities for a in policy.acceptances}
    assert len(set(told.values())) == 3
    assert policy.guide(history, "r20", n=3)[0].propensities == told[policy.acceptance]


def test_a_result_does_not_depend_on_what_is_asked_for_beside_it(policy):
    histories = histories_of(24, 30, seed=4)
    wishes = itertools.cycle(
        [
            {},
            {"length": (2, 3), "avoid": ["Crime"]},
            {"length": 4, "acceptance": 1.0},
            {"length": 1, "n": 2, "temperature": 0.5, "seed": 9},
            {"temperature": 0.5, "avoid": ["r1", "r2"]},
            {"n": 3, "acceptance": 0.0},
        ]
    )
    requests = [policy.request(history, "r20", **next(wishes)) for history in histories]
    together = policy.guide_each(requests)
    for request, paths in zip(requests, together, strict=True):
        (alone,) = policy.guide_each([request])
        assert [numbers(path) for path in alone] == [numbers(path) for path in paths]
        for one, other in zip(alone, paths, strict=True):
            assert one.propensities == pytest.approx(other.propensities, rel=1e-4)
            assert one.stop_propensity == pytest.approx(other.stop_propensity, rel=1e-4)
            assert one.reasons == other.reasons


def test_requests_that_can_be_are_decoded_together(policy, monkeypatch):
    sizes, batch = [], type(policy)._batch
    monkeypatch.setattr(
        type(policy), "_batch", lambda self, part: sizes.append(len(part)) or batch(self, part)
    )
    wishes = [{}, {"length": 3}, {"avoid": ["Crime"], "acceptance": 1.0}, {"n": 2}, {"n": 2, "length": 2}]
    policy.guide_each([policy.request(["r1"], "r20", **own) for own in wishes])
    assert sizes == [3, 2]


def test_draws_are_keyed_by_seed_and_place(policy):
    history = ["r1", "r2"]
    one, other = (
        [numbers(path) for (path,) in policy.guide([history, history], "r20", temperature=2.0, seed=seed)]
        for seed in (1, 2)
    )
    assert one[0] != one[1]
    assert one != other
    for _ in range(2):
        (path,) = policy.guide(history, "r20", temperature=2.0, seed=1)
        assert numbers(path) == one[0]


def test_targets_may_differ_from_history_to_history(policy):
    both = policy.guide([["r1"], ["r2"]], ["r20", "r21"])
    assert both == [policy.guide(["r1"], "r20"), policy.guide(["r2"], "r21")]


def test_reasons_are_attributes_shared_with_the_item_before(policy):
    items = [policy.items[number] for number in (7, 5, 8, 12)]  # 7 is 0111, 5 is 0101, 8 is 1000, 12 is 1100
    assert reasons(items[:1], items[1:]) == (("Comedy", "Drama"), (), ("Western",))
    assert reasons(items, ()) == ()
    (path,) = policy.guide(["r1", "r7"], "r20")
    before = [7, *numbers(path)]
    shared = [set(attributes_of(a)) & set(attributes_of(b)) for a, b in itertools.pairwise(before)]
    assert [set(own) for own in path.reasons] == shared


def test_a_path_is_told_in_json(policy):
    (path,) = policy.guide(["r1", "r7"], "r20", temperature=1.0)
    told = path.as_dict()
    assert told["history"][1] == {
        "raw_id": "r7",
        "title": "Title 7",
        "attributes": ["Comedy", "Crime", "Drama"],
    }
    assert told["target"]["raw_id"] == "r20"
    assert [step["raw_id"] for step in told["items"]] == [item.raw_id for item in path.items]
    assert [tuple(step["why"]) for step in told["items"]] == list(path.reasons)
    assert [step["propensity"] for step in told["items"]] == list(path.propensities)
    assert told["stop_propensity"] == path.stop_propensity


def test_a_policy_that_is_told_no_acceptance(tmp_path):
    policy = load_policy(make_bundle(tmp_path, catalogue_of(acceptances=())), "cpu")
    assert (policy.acceptances, policy.acceptance) == ((), None)
    assert policy.guide(["r1"], "r20")[0].items
    with pytest.raises(ConfigError, match=r"acceptance: got 0\.5, allowed: null"):
        policy.guide(["r1"], "r20", acceptance=0.5)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"histories": []}, ConfigError, "history: got none, allowed: a list of at least one item"),
        ({"histories": [["r1"], []]}, ConfigError, "history: got none"),
        ({"histories": "r1"}, ConfigError, "histories: got r1, allowed: a list of items"),
        ({"histories": ["r1", "Titel 3"]}, DataError, r"history\[1\]: 'Titel 3' is no raw id .*'Title 3'"),
        ({"histories": ["r1", 3]}, ConfigError, r"history\[1\]: got 3 \(int\), allowed: a raw id"),
        ({"target": "Nothing"}, DataError, "target: 'Nothing' is no raw id and no title"),
        (
            {"target": ["r1", "r2"]},
            ConfigError,
            "target: got 2, allowed: one, or one for each of 1 histories",
        ),
        ({"avoid": ["Wester"]}, DataError, "avoid: 'Wester' is no raw id.*or the attribute 'Western'"),
        ({"avoid": "Western"}, ConfigError, "avoid: got Western, allowed: a list"),
        ({"acceptance": 0.4}, ConfigError, r"acceptance: got 0.4, allowed: one of \[0.0, 0.5, 1.0\]"),
        ({"length": 5}, ConfigError, "length: got 5, allowed: 1 to 4, the longest it was trained for"),
        ({"length": 0}, ConfigError, "length: got 0, allowed: 1 to 4"),
        ({"length": (3, 2)}, ConfigError, r"length: got \(3, 2\), allowed"),
        ({"length": (1, 2, 3)}, ConfigError, r"length: got \(1, 2, 3\), allowed"),
        ({"n": 0}, ConfigError, "n: got 0, allowed: a whole number, at least 1"),
        ({"n": 1.5}, ConfigError, "n: got 1.5, allowed: a whole number"),
        ({"seed": -1}, ConfigError, "seed: got -1, allowed: a whole number, at least 0"),
        ({"temperature": 0}, ConfigError, "temperature: got 0, allowed: above 0"),
        ({"temperature": math.nan}, ConfigError, "temperature: got nan, allowed: above 0"),
        ({"avoid": [f"r{i}" for i in range(1, 30)]}, DataError, "a path may find none to go on with"),
    ],
)
def test_what_is_not_allowed_is_told_in_one_line(policy, arguments, kind, message):
    with pytest.raises(kind, match=message) as told:
        policy.guide(**{"histories": ["r1"], "target": "r20"} | arguments)
    assert "\n" not in str(told.value)


def test_an_item_of_another_policy_is_refused(policy, few):
    assert policy.guide([policy.items[3]], policy.items[20]) == policy.guide(["r3"], "r20")
    with pytest.raises(DataError, match=r"target: got 'Title 20' \(r20\), allowed: an item of this policy"):
        few.guide(["r1"], policy.items[20])


def test_what_a_policy_says_of_itself(policy, few):
    assert (policy.name, policy.dataset, policy.history_length) == ("prorl", "films", 4)
    assert policy.acceptances == (0.0, 0.5, 1.0)
    assert (policy.rules.min_length, policy.rules.max_length) == (2, 4)
    assert isinstance(policy._catalogue, Catalogue)
    assert len(policy.version) == 12
    assert policy.version != few.version
