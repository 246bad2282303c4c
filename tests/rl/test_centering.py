"""Moments against NumPy's, and rewards centred by them."""

import numpy as np
import pytest
import torch

from prorl.rl.centering import MIN_STD, Moments, centered, collected, standardised, uncentered
from prorl.rl.rewards import StepRewards


def values_of(seed, n):
    return torch.from_numpy(100 + np.random.default_rng(seed).normal(size=n))


def test_moments_equal_those_of_numpy():
    values = values_of(0, 37)
    moments = Moments.of(values)
    assert moments.count == 37
    assert moments.mean.item() == pytest.approx(values.numpy().mean(), rel=1e-14)
    assert moments.std.item() == pytest.approx(values.numpy().std(ddof=1), rel=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
def test_merged_moments_are_those_of_all_values_in_any_order(order):
    parts = [values_of(1, 5), values_of(2, 0), values_of(3, 1), values_of(4, 20)]
    merged = Moments.of(torch.zeros(0))
    for i in order:
        merged = merged.merged(Moments.of(parts[i]))
    together = np.concatenate(parts)
    assert merged.count == 26
    assert merged.mean.item() == pytest.approx(together.mean(), rel=1e-14)
    assert merged.std.item() == pytest.approx(together.std(ddof=1), rel=1e-12)


def test_moments_of_nothing_and_of_one_value_are_finite():
    none = Moments.of(torch.zeros(0))
    assert [none.count.item(), none.mean.item(), none.std.item()] == [0, 0, 0]
    assert none.merged(none).mean.item() == 0
    one = Moments.of(torch.tensor([3.0]))
    assert [one.count.item(), one.mean.item(), one.std.item()] == [1, 3, 0]


def test_moments_of_float32_values_are_accumulated_in_float64():
    values = torch.full((1000,), 0.1) + 1000
    assert Moments.of(values).mean.item() == pytest.approx(values.double().numpy().mean(), rel=1e-14)


def test_standard_deviations_below_a_tenth_count_as_a_tenth():
    assert MIN_STD == 0.1
    narrow = Moments.of(torch.tensor([0.50, 0.52, 0.54]))
    torch.testing.assert_close(standardised(torch.tensor([0.52, 0.62]), narrow), torch.tensor([0.0, 1.0]))
    wide = Moments.of(torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(standardised(torch.tensor([0.5]), wide), torch.tensor([0.5]))


def rewards(ctr, ioi, ior, real, repeated):
    values = {"ctr": torch.tensor(ctr), "ioi": torch.tensor(ioi), "ior": torch.tensor(ior)}
    return StepRewards(values, torch.tensor(real), torch.tensor(repeated))


# Two paths of up to three items: the first stops after two, the second repeats its first item at the end.
STEPS = rewards(
    ctr=[[[0.2, 0.4, 0.0], [0.6, 0.8, 0.0]]],
    ioi=[[[1.0, -1.0, 0.0], [3.0, 1.0, 50.0]]],
    ior=[[[10.0, 0.0, 0.0], [20.0, 10.0, 500.0]]],
    real=[[[True, True, False], [True, True, True]]],
    repeated=[[[False, False, False], [False, False, True]]],
)


def test_moments_are_collected_over_items_that_are_no_repeats():
    moments = collected(STEPS)
    assert [m.count.item() for m in moments.values()] == [4, 4, 4]
    assert moments["ctr"].mean.item() == pytest.approx(0.5)
    assert moments["ioi"].mean.item() == pytest.approx(1.0)
    assert moments["ior"].mean.item() == pytest.approx(10.0)
    assert moments["ioi"].std.item() == pytest.approx(np.std([1, -1, 3, 1], ddof=1))


def test_centered_rewards_by_hand():
    moments = collected(STEPS)
    weights = {"ctr": 2.0, "ioi": 0.5, "ior": 1.0}
    found = centered(STEPS, moments, weights, max_length=10)
    s_ctr, s_ioi, s_ior = (np.std(x, ddof=1) for x in ([0.2, 0.4, 0.6, 0.8], [1, -1, 3, 1], [10, 0, 20, 10]))
    first = 2.0 / 10 * (0.2 - 0.5) / s_ctr + 0.5 * 0.0 + 0.0
    last = 2.0 / 10 * (0.0 - 0.5) / s_ctr + 0.5 * (50 - 1) / s_ioi + (500 - 10) / s_ior
    assert found[0, 0, 0].item() == pytest.approx(first, rel=1e-6)
    assert found[0, 0, 2].item() == 0  # behind the end of a path
    assert found[0, 1, 2].item() == pytest.approx(
        last, rel=1e-6
    )  # a repeat counts in the reward, not in the moments


def test_one_more_step_is_worth_nothing_on_average():
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(8, 4, 6, generator=generator) < 0.7
    values = {
        name: 3 + 5 * torch.randn(8, 4, 6, generator=generator).double() for name in ("ctr", "ioi", "ior")
    }
    steps = StepRewards(values, real, torch.zeros_like(real))
    found = centered(steps, collected(steps), {"ctr": 1.0, "ioi": 1.0, "ior": 1.0}, 10)
    assert found[real].mean().item() == pytest.approx(0.0, abs=1e-12)


def test_uncentered_rewards_by_hand():
    moments = collected(STEPS)
    found = uncentered(STEPS, moments, {"ctr": 2.0, "ioi": 0.5, "ior": 1.0}, 10, offset=0.25)
    s_ctr, s_ioi, s_ior = (np.std(x, ddof=1) for x in ([0.2, 0.4, 0.6, 0.8], [1, -1, 3, 1], [10, 0, 20, 10]))
    assert found[0, 0, 0].item() == pytest.approx(
        2.0 / 10 * 0.2 / s_ctr + 0.5 * 1.0 / s_ioi + 10 / s_ior - 0.25, rel=1e-6
    )
    assert found[0, 0, 2].item() == 0  # the offset is taken from steps alone


def test_an_uncentered_reward_counts_where_a_centered_one_does():
    values = {"coherence": torch.tensor([[[1.0, 1.0, 0.0]]]).double()}
    steps = StepRewards(values, torch.ones(1, 1, 3, dtype=torch.bool), torch.zeros(1, 1, 3, dtype=torch.bool))
    moments, weights = collected(steps), {"coherence": 4.0}
    assert steps.counted("coherence")[0, 0].tolist() == [False, True, True]
    ways = {"uncentered": uncentered, "centered": centered}
    found = {name: way(steps, moments, weights, 10)[0, 0].tolist() for name, way in ways.items()}
    assert found["uncentered"][0] == found["centered"][0] == 0
    assert found["uncentered"][1] > 0


def test_centering_takes_the_same_from_every_step():
    moments, weights = collected(STEPS), {"ctr": 1.0, "ioi": 1.0, "ior": 1.0}
    difference = (uncentered(STEPS, moments, weights, 10) - centered(STEPS, moments, weights, 10))[STEPS.real]
    torch.testing.assert_close(difference, difference[:1].expand(5))
    assert difference[0] > 1


def test_what_adds_up_along_a_path_keeps_its_zero_where_only_averages_are_centered():
    """The gains of a path add up to what it gains in all, over their deviation; CTR is as in SRC."""
    moments = collected(STEPS)
    sums, averages = {"ioi": 0.5, "ior": 1.0}, {"ctr": 2.0}
    found = centered(STEPS, moments, sums, 10, averaged_alone=True)
    gained = sum(
        weight * (STEPS.values[name] * STEPS.real).sum(-1) / moments[name].std
        for name, weight in sums.items()
    )
    torch.testing.assert_close(found.sum(-1), gained)
    both = centered(STEPS, moments, sums | averages, 10, averaged_alone=True)
    torch.testing.assert_close(both - found, centered(STEPS, moments, averages, 10))


def test_a_late_step_that_gains_little_is_worth_less_than_none_where_all_rewards_are_centered():
    gains = torch.tensor([[[3.0, 1.0, 0.5]]]).double()
    steps = StepRewards({"ioi": gains}, torch.ones(1, 1, 3, dtype=torch.bool), torch.zeros(1, 1, 3).bool())
    moments, weights = collected(steps), {"ioi": 1.0}
    assert centered(steps, moments, weights, 10)[0, 0, 2] < 0
    assert centered(steps, moments, weights, 10, averaged_alone=True)[0, 0, 2] > 0
