"""Acceptance times the target's gain, and intents."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.guides.intents import training_states
from prorl.guides.ipg import INTENTS_FILE, IPGGuide
from tests.guides.test_rules import FREE, N_ITEMS, OURS, built, context_in
from tests.guides.test_search import Counting
from tests.tiny_models import prompts_of, random_simulator, some_prompts

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=4)


def guide_on(simulator, decoding=RULES, similarity="cosine", weight=0.0, centroids=None, untrained=False):
    return IPGGuide(simulator, similarity, weight, centroids, untrained, decoding)


def double_simulator(name="SASRec"):
    simulator = random_simulator(N_ITEMS, name)
    simulator.model.double()
    return simulator


def plain_path(simulator, history, target, n, worth_of):
    """The plain form: read everything anew, weigh the items one by one, take the best."""
    path = []
    for _ in range(n):
        states, _ = simulator.model.extend(torch.tensor([[*history, *path]]))
        s, best = states[0, -1], None
        for item in range(1, N_ITEMS + 1):
            if item in {*history, *path, target}:
                continue
            worth = float(worth_of(s, simulator.vectors[item], simulator.vectors[target]))
            if best is None or worth > best[0]:
                best = worth, item
        path.append(best[1])
    return path


def cos(one, other):
    return F.cosine_similarity(one, other, dim=0)


def guarded(p, g):
    return p * g if g > 0 else g / p


def as_released(s, e, t):
    return guarded((s @ e).sigmoid(), cos(e, t) - cos(s, t))


def as_published(s, e, t):
    """The user after the item is gamma s + (1 - gamma) e, with a gamma of .8."""
    after = 0.8 * s + 0.2 * e
    return guarded((s @ e).sigmoid(), t @ after - t @ s)


def positive_factor(s, e, t):
    """Whatever positive factor a user has."""
    return as_released(s, e, t) * (0.1 + s.abs().sum())


@pytest.mark.parametrize(
    ("similarity", "worth"),
    [("cosine", as_released), ("cosine", positive_factor), ("dot", as_published)],
)
def test_paths_are_those_of_the_plain_form_whatever_gamma_or_a_users_factor(similarity, worth):
    simulator, prompts = double_simulator(), some_prompts(8, N_ITEMS)
    paths = guide_on(simulator, similarity=similarity).paths(prompts)
    for history, target, path in zip(
        prompts.history.tolist(), prompts.target.tolist(), paths.tolist(), strict=True
    ):
        assert path == plain_path(simulator, history, target, 4, worth)


class Scripted:
    """A causal model whose state after an item is written down, and the simulator of it."""

    def __init__(self, states, vectors):
        self.states, self.vectors, self.model = torch.tensor(states), torch.tensor(vectors), self
        self.n_items = len(vectors) - 1

    def extend(self, items, memory=None):
        return self.states[items], None

    def branch(self, items, memory):
        raise NotImplementedError

    follow = target_scores = target_log_prob = score = branch


def test_worth_by_hand_and_a_loss_is_not_made_smaller_by_being_refused():
    vectors = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [3.0, 4.0]]
    #  target 1; cosines of 2..5 with it: 0, -1, 0, .6
    prompts = prompts_of(torch.tensor([[5]]), torch.tensor([1]))
    one = RULES.replace(max_length=1, forbid=["target"])

    def first(state, decoding=one):
        return guide_on(Scripted([state] * 6, vectors), decoding).paths(prompts)[0, 0].item()

    # State (-1, -1): its cosine is -.707, so that 2 and 4 gain .707 and 5 gains 1.307. p: 5 sigmoid(-7),
    # 2 sigmoid(-1), 4 sigmoid(2) = .881. Worth: .0012, .190, .623.
    assert first([-1.0, -1.0]) == 4
    # State (2, 0): all lose: 2 and 4 lose 1 with p = .5; 5 loses .4 with p = sigmoid(6); 3 loses 2 with
    # p = sigmoid(-2) = .119, and its product, -.238, would be the greatest but for 5's.
    assert first([2.0, 0.0]) == 5
    without_5 = one.replace(forbid=["target", "history"])
    # The products are -.5, -.5 and -.238; divided they are -2, -2 and -16.8. 2 and 4 are alike.
    assert first([2.0, 0.1], without_5) == 2, "p of 2 is sigmoid(.1), that of 4 sigmoid(-.2)"


def test_with_a_constant_acceptance_the_order_is_that_of_the_cosines_to_the_target():
    simulator = double_simulator()
    vectors, target = simulator.vectors, 7
    direction = torch.zeros(vectors.shape[1], dtype=vectors.dtype)

    class Flat(Scripted):
        def __init__(self):
            self.states, self.vectors, self.model = direction.expand(N_ITEMS + 1, -1), vectors, self
            self.n_items = N_ITEMS

    rules = RULES.replace(max_length=10)
    path = guide_on(Flat(), rules).paths(prompts_of(torch.tensor([[1, 2]]), torch.tensor([target])))[0]
    cosines = F.cosine_similarity(vectors, vectors[target][None])
    ranked = [item for item in cosines.argsort(descending=True).tolist() if item not in (0, 1, 2, target)]
    n_gaining = int((cosines[ranked] > 0).sum())
    assert n_gaining >= 5
    assert path.tolist() == ranked[:10]


def test_the_target_is_the_best_of_all_where_it_may_be_shown_and_likely():
    simulator, prompts = double_simulator(), some_prompts(12, N_ITEMS)
    paths = guide_on(simulator, FREE).paths(prompts)
    assert (paths == prompts.target[:, None]).any(1).sum() >= 6


@pytest.mark.parametrize("untrained", [False, True])
def test_intents_are_the_centroids_nearest_by_cosine(untrained):
    simulator, prompts = double_simulator("GRU4Rec"), some_prompts(8, N_ITEMS)
    d = simulator.vectors.shape[1]
    centroids = torch.randn(5, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def nearest(v):
        return max(centroids, key=lambda centroid: float(cos(v, centroid)))

    def worth(s, e, t):
        agreement = 0.5 if untrained else (nearest(s) @ nearest(e)).sigmoid()
        return guarded((s @ e).sigmoid() + 0.7 * agreement, cos(e, t) - cos(s, t))

    guide = guide_on(simulator, weight=0.7, centroids=None if untrained else centroids, untrained=untrained)
    paths = guide.paths(prompts)
    for history, target, path in zip(
        prompts.history.tolist(), prompts.target.tolist(), paths.tolist(), strict=True
    ):
        assert path == plain_path(simulator, history, target, 4, worth)
    assert not torch.equal(paths, guide_on(simulator).paths(prompts))


def test_centroids_next_to_nothing_are_what_untrained_means():
    """As released: centroids drawn from N(0, .02), whose agreement is about .5 for all."""
    simulator, prompts = double_simulator(), some_prompts(12, N_ITEMS)
    d = simulator.vectors.shape[1]
    drawn = 0.02 * torch.randn(32, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    released = guide_on(simulator, weight=1.0, centroids=drawn).paths(prompts)
    untrained = guide_on(simulator, weight=1.0, untrained=True).paths(prompts)
    assert (released == untrained).double().mean() > 0.9


def test_fitted_intents_are_the_clusters_of_training_states(tmp_path):
    context = context_in(tmp_path / "guide", OURS)
    guide = built("ipg", {"intents": 4}, context)
    assert (context.folder / INTENTS_FILE).exists()
    states = training_states(guide.simulator, context)
    lengths = context.data.sequences.lengths[context.data.train_users - 1]
    assert len(states) == (lengths - 1).sum(), "one after every item but each user's last"
    assert guide.centroids.shape == (4, states.shape[1])
    near = ((states[:, None] - guide.centroids.numpy()) ** 2).sum(-1).argmin(1)
    for cluster, centroid in enumerate(guide.centroids.numpy()):
        assert states[near == cluster].mean(0) == pytest.approx(centroid, abs=1e-4)
    others = replace(context, folder=tmp_path / "again")
    others.folder.mkdir()
    assert torch.equal(built("ipg", {"intents": 4}, others).centroids, guide.centroids)


@pytest.mark.parametrize("changes", [{}, {"intents": 4, "centroids": "untrained"}])
def test_without_intents_to_fit_nothing_is_written(changes, tmp_path):
    context = context_in(tmp_path / "guide", OURS)
    guide = built("ipg", changes, context)
    assert guide.centroids is None
    assert guide.untrained == bool(changes)
    assert list(context.folder.iterdir()) == []


def test_states_are_those_that_the_simulator_computes():
    simulator, prompts = double_simulator(), some_prompts(6, N_ITEMS)
    simulator.model = Counting(simulator.model)
    guide = guide_on(simulator, FREE)
    for row in range(6):
        prompt = prompts[row : row + 1]
        simulator.model.n_states = 0
        paths = guide.paths(prompt)
        assert guide.states(prompt, paths).tolist() == [simulator.model.n_states]


def test_a_simulator_without_states_names_the_setting(tmp_path):
    class ScoresAlone:
        n_items = N_ITEMS

    context = context_in(tmp_path / "guide", OURS)
    plain = replace(context, simulators={"SASRec": ScoresAlone()})
    with pytest.raises(ConfigError, match=r"^params\.yaml: guide\.simulator: got simulator 'SASRec'"):
        built("ipg", {}, plain)
