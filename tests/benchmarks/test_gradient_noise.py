"""Signal and noise of gradients: by hand, and without bias."""

import pytest
import torch

from benchmarks.gradient_noise import Noise


def test_signal_and_noise_by_hand():
    found = Noise.of(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), [0.5, 0.1, 0.3])
    assert (found.noise, found.seconds) == (2.0, 0.3)
    assert found.signal == 3.0  # the mean's square, 4, less the noise of a mean of two
    assert found.ratio == 1.5


def test_the_signal_of_few_gradients_is_right_on_average():
    true = torch.tensor([1.0, -2.0, 0.5])
    generator = torch.Generator().manual_seed(0)
    found = [Noise.of(true + 3 * torch.randn(4, 3, generator=generator), [1.0]) for _ in range(4000)]
    assert sum(one.signal for one in found) / len(found) == pytest.approx(5.25, abs=0.4)
    assert sum(one.noise for one in found) / len(found) == pytest.approx(27.0, rel=0.03)
