"""Re-ranking the likeliest next items by their distance to the target."""

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.guides.distances import Distances
from prorl.guides.next_item import NextItemGuide
from prorl.guides.registry import GUIDES
from tests.guides.test_rules import N_ITEMS, OURS, built, context_in, words
from tests.guides.test_search import Counting
from tests.tiny_models import prompts_of, random_simulator, some_prompts

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=3)


class Ranked:
    """A simulator that ranks items alone: 1 to 6 by their numbers, the greatest first, but for the last item
    read, which makes the one below it the likeliest.
    """

    n_items = 6

    def __init__(self):
        self.read = []

    def score(self, history, path, target, *, ends=False):
        raise NotImplementedError

    def item_scores(self, history):
        self.read.append(history.tolist())
        scores = torch.arange(1.0, 7.0).repeat(len(history), 1)
        return scores.scatter(1, (history[:, -1:] - 2).clamp(min=0), 9.0)


# The number of attributes an item has and the target, 3, lacks: its number.
BITS = np.array([[0], [1], [3], [0], [15], [31], [63]], dtype=np.uint64)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [6, 5, 4]),  # 5 follows 6, and 4 follows 5: the likeliest of all
        (2, [5, 4, 2]),  # of 6 and 5 the nearer; then of 4 and 6; then of 6 and 2
        (3, [4, 2, 5]),
        (None, [2, 4, 5]),
    ],
)
def test_paths_by_hand(k, expected):
    simulator = Ranked()
    guide = NextItemGuide(simulator, k, Distances("attributes", None, BITS), RULES)
    prompts = prompts_of(torch.tensor([[3, 1]]), torch.tensor([3]))
    paths = guide.paths(prompts)
    assert paths.tolist() == [expected]
    first, *others = expected
    assert simulator.read == [[[3, 1]], [[3, 1, first]], [[3, 1, first, others[0]]]]


def test_of_equally_near_items_the_likeliest_is_shown():
    bits = np.zeros((7, 1), dtype=np.uint64)
    guide = NextItemGuide(Ranked(), None, Distances("attributes", None, bits), RULES)
    prompts = prompts_of(torch.tensor([[1, 1]]), torch.tensor([3]))
    assert guide.paths(prompts).tolist() == [[6, 5, 4]]


def test_a_path_ends_with_the_target_where_it_may_be_shown():
    rules = RULES.replace(forbid=[], min_length=0)
    guide = NextItemGuide(Ranked(), 4, Distances("attributes", None, BITS), rules)
    prompts = prompts_of(torch.tensor([[1, 1]]), torch.tensor([3]))
    # Item 1 is the nearest of 1, 6, 5 and 4; it is shown once, and then 3 is one of the four likeliest.
    assert guide.paths(prompts).tolist() == [[1, 3, 0]]


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_a_causal_simulator_reads_along_as_if_it_read_each_prefix_anew(name):
    simulator = random_simulator(N_ITEMS, name)
    simulator.model.double()

    class Anew:
        n_items, item_scores, score = N_ITEMS, staticmethod(simulator.item_scores), None

    prompts = some_prompts(9, N_ITEMS)
    for rules in (OURS, OURS.replace(forbid=[], min_length=0)):
        guides = [
            NextItemGuide(users, 4, Distances("cosine", simulator.vectors, words()), rules)
            for users in (simulator, Anew())
        ]
        one, other = (guide.paths(prompts) for guide in guides)
        assert torch.equal(one, other)


def test_states_are_those_that_the_simulator_computes():
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(6, N_ITEMS)
    simulator.model = Counting(simulator.model)
    rules = OURS.replace(forbid=["repeats"], min_length=0)
    guide = NextItemGuide(simulator, 20, Distances("cosine", simulator.vectors, words()), rules)
    lengths = set()
    for row in range(6):
        prompt = prompts[row : row + 1]
        simulator.model.n_states = 0
        paths = guide.paths(prompt)
        lengths.add(int((paths != 0).sum()))
        assert guide.states(prompt, paths).tolist() == [simulator.model.n_states]
    assert len(lengths) > 1


def test_states_of_a_simulator_that_reads_each_prefix_anew_by_hand():
    guide = NextItemGuide(Ranked(), 1, Distances("attributes", None, BITS), RULES)
    prompts = prompts_of(torch.tensor([[1, 2], [1, 2]]), torch.tensor([3, 3]))
    # Histories of two items; then three and four items where the path has three.
    assert guide.states(prompts, torch.tensor([[4, 5, 6], [4, 0, 0]])).tolist() == [2 + 3 + 4, 2]


def test_simulators_without_scores_or_vectors_name_the_setting(tmp_path):
    class ScoresAlone:
        n_items = N_ITEMS

    context = context_in(tmp_path / "guide", OURS)
    context.simulators["plain"], context.simulators["ranked"] = ScoresAlone(), Ranked()
    start = r"^params\.yaml: guide\.simulator: got simulator "
    message = start + r"'plain' \(ScoresAlone\), allowed: one with item_scores"
    with pytest.raises(ConfigError, match=message):
        built("next_item", {"simulator": "plain"}, context)
    message = start + r"'ranked' \(Ranked\), allowed: one with item `vectors`"
    with pytest.raises(ConfigError, match=message):
        built("next_item", {"simulator": "ranked", "distance": "l2"}, context)
    assert isinstance(
        built("next_item", {"simulator": "ranked", "distance": "attributes"}, context), NextItemGuide
    )
    assert GUIDES["next_item"].fit is None
