"""The estimators against Open Bandit Pipeline 0.5.7, where the extra `test-oracles` is installed."""

import numpy as np
import pytest

from prorl.offpolicy.paths import Values, cascade_doubly_robust, per_decision_ips
from prorl.offpolicy.single import ips, snips
from prorl.offpolicy.slates import pi, pi_multiple, pi_single, wpi
from prorl.offpolicy.sums import bootstrap

ope = pytest.importorskip(
    "obp.ope", reason="Open Bandit Pipeline is not installed: see test-oracles in pyproject.toml"
)
pytestmark = pytest.mark.oracles

N, N_ITEMS, LONGEST = 500, 4, 3


def distributions(rng, *shape):
    weights = rng.gamma(1.0, size=(*shape, N_ITEMS)) + 0.1
    return weights / weights.sum(-1, keepdims=True)


def test_the_version_is_the_one_that_was_compared():
    import obp

    assert obp.__version__ == "0.5.7"


@pytest.fixture(scope="module")
def single():
    rng = np.random.default_rng(0)
    logging, target = distributions(rng, N), distributions(rng, N)
    item = (rng.random(N)[:, None] > logging.cumsum(1)).sum(1)
    rows = np.arange(N)
    theirs = {
        "reward": rng.random(N),
        "action": item,
        "pscore": logging[rows, item],
        "action_dist": target[..., None],
    }
    return theirs, target[rows, item] / logging[rows, item]


def test_single_items(single):
    theirs, weights = single
    rewards = theirs["reward"]
    expected = ope.InverseProbabilityWeighting().estimate_policy_value(**theirs)
    assert ips(weights, rewards).value == pytest.approx(expected, rel=1e-12)
    assert pi(weights[:, None], rewards).value == pytest.approx(expected, rel=1e-12)
    expected = ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**theirs)
    assert snips(weights, rewards).value == pytest.approx(expected, rel=1e-12)
    assert wpi(weights[:, None], rewards).value == pytest.approx(expected, rel=1e-12)


def test_a_control_variate_is_a_doubly_robust_estimate_whose_model_is_its_coefficient(single):
    """For slates of one, w r - b (w - 1) is w (r - b) + b: doubly robust with Q = b for all items."""
    theirs, weights = single
    for estimator, at in ((pi_single, (2, 3)), (pi_multiple, (3, 4))):
        sums = estimator(weights[:, None], theirs["reward"])
        products, squares = sums.terms.sum(0)[list(at)]
        constant = np.full((N, N_ITEMS, 1), products / squares)
        expected = ope.DoublyRobust().estimate_policy_value(**theirs, estimated_rewards_by_reg_model=constant)
        assert sums.value == pytest.approx(expected, rel=1e-10)


def test_the_interval_of_a_mean(single):
    theirs, weights = single
    expected = ope.InverseProbabilityWeighting().estimate_interval(**theirs, random_state=0)
    low, high = bootstrap(ips(weights, theirs["reward"]), np.arange(N), 10_000, seed=0)
    width = high - low
    assert low == pytest.approx(expected["95.0% CI (lower)"], abs=0.05 * width)
    assert high == pytest.approx(expected["95.0% CI (upper)"], abs=0.05 * width)


@pytest.fixture(scope="module")
def paths():
    """Paths of three items; policies depend on the items before through a draw of their own for each path."""
    rng = np.random.default_rng(1)
    logging, target = distributions(rng, N, LONGEST), distributions(rng, N, LONGEST)
    item = (rng.random((N, LONGEST))[..., None] > logging.cumsum(-1)).sum(-1)
    probability = [np.take_along_axis(x, item[..., None], axis=-1)[..., 0] for x in (logging, target)]
    rewards, q = rng.random((N, LONGEST)), rng.random((N, LONGEST, N_ITEMS))
    return item, probability[0], probability[1], target, rewards, q


def flat(paths):
    """What all of their estimators of paths take."""
    _, logging, target, _, rewards, _ = paths
    return {
        "slate_id": np.arange(N).repeat(LONGEST),
        "position": np.tile(np.arange(LONGEST), N),
        "reward": rewards.ravel(),
        "pscore_cascade": logging.cumprod(1).ravel(),
        "evaluation_policy_pscore_cascade": target.cumprod(1).ravel(),
    }


def test_per_decision_ips_is_reward_interaction_ips(paths):
    _, logging, target, _, rewards, _ = paths
    expected = ope.SlateRewardInteractionIPS(len_list=LONGEST).estimate_policy_value(**flat(paths))
    assert per_decision_ips(target / logging, rewards).value == pytest.approx(expected, rel=1e-12)


def test_cascade_doubly_robust(paths):
    item, logging, target, distribution, rewards, q = paths
    expected = ope.SlateCascadeDoublyRobust(len_list=LONGEST, n_unique_action=N_ITEMS).estimate_policy_value(
        **flat(paths),
        action=item.ravel(),
        q_hat=q.ravel(),
        evaluation_policy_action_dist=distribution.ravel(),
    )
    behind = np.zeros((N, 1, N_ITEMS))  # a path of the longest length is followed by no choice
    values = Values.of_distributions(
        np.concatenate([q, behind], axis=1),
        np.concatenate([distribution, behind], axis=1),
        item + 1,
        np.tile([True] * LONGEST + [False], (N, 1)),
    )
    found = cascade_doubly_robust(target / logging, rewards, values).value
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_weight_of_a_whole_path_is_that_of_its_last_item(paths):
    """A reward at the end alone is weighed by the whole path, as standard IPS of slates does."""
    _, logging, target, _, rewards, _ = paths
    last = rewards * [0, 0, 1]
    whole = {"pscore": logging.prod(1), "evaluation_policy_pscore": target.prod(1)}
    expected = ope.SlateStandardIPS(len_list=LONGEST).estimate_policy_value(
        slate_id=flat(paths)["slate_id"],
        position=flat(paths)["position"],
        reward=last.ravel(),
        **{name: values.repeat(LONGEST) for name, values in whole.items()},
    )
    assert per_decision_ips(target / logging, last).value == pytest.approx(expected, rel=1e-12)
