"""The ensemble of Q functions: each member against its perceptron written out."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.policies import QMLP, ObservationNormalizer

BOUNDS = Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_each_member_is_an_independent_perceptron(layer_norm):
    """Actions in [-1, 1] x [0, 4] are scaled to (u_1, (u_2 - 2) / 2); observations are normalised."""
    normalizer = ObservationNormalizer(3).double()
    normalizer.update(torch.randn(50, 3, dtype=torch.float64) * 3.0 + 1.0)
    q = QMLP(3, BOUNDS, normalizer, count=2, hidden_sizes=(5, 4), layer_norm=layer_norm).double()
    for parameter in (*q.biases, *q.gains, *q.shifts):
        torch.nn.init.normal_(parameter)
    obs, action = torch.randn(6, 7, 3, dtype=torch.float64), torch.rand(6, 7, 2, dtype=torch.float64)
    found = q(obs, action)
    unit = torch.stack([action[..., 0], (action[..., 1] - 2.0) / 2.0], -1)
    for k in range(2):
        x = torch.cat([normalizer(obs), unit], -1)
        for layer, (weight, bias) in enumerate(zip(q.weights, q.biases, strict=True)):
            x = x @ weight[k] + bias[k]
            if layer_norm and layer < 2:
                deviation = (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
                x = (x - x.mean(-1, keepdim=True)) / deviation * q.gains[layer][k] + q.shifts[layer][k]
            x = x.relu() if layer < 2 else x
        torch.testing.assert_close(found[k], x[..., 0])
    torch.testing.assert_close(q.first(obs, action), found[0])
    assert found.shape == (2, 6, 7) and not torch.allclose(found[0], found[1])


def test_initial_weights_are_orthogonal_and_different():
    q = QMLP(3, BOUNDS, count=2, hidden_sizes=(8, 8))
    for weight in q.weights[1]:
        torch.testing.assert_close(weight @ weight.T, torch.eye(8), atol=1e-5, rtol=0)
    assert not torch.allclose(q.weights[1][0], q.weights[1][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "hidden_sizes, count and obs_size must be >= 1, got 0"),
        ({"hidden_sizes": (4, 0)}, "hidden_sizes, count and obs_size must be >= 1, got 0"),
        ({"activation": "sin"}, "activation must be one of tanh, .*, got 'sin'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        QMLP(3, BOUNDS, **options)
