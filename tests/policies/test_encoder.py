"""Images: scaling, shapes and gradients, against torch's own functions and hand arithmetic."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn.functional import conv2d

from diffsim.policies import (
    CategoricalMLP,
    DeterministicMLP,
    FullGaussianMLP,
    GaussianMLP,
    ImageEncoder,
    ValueMLP,
    is_image,
)

ACTION = Box(-1.0, 1.0, (2,), np.float32)


def bytes_box(*shape):
    return Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (bytes_box(8, 8), True),
        (bytes_box(8, 8, 3), True),
        (Box(-1, 1, (8, 8), np.int8), True),
        (bytes_box(128), False),  # an Atari console's RAM: a vector
        (Box(-1.0, 1.0, (8, 8), np.float32), False),
        (Box(-1.0, 1.0, (8, 8, 1), np.float32), True),
        (Box(-np.inf, 1.0, (8, 8, 1), np.float32), False),
        (Discrete(3), False),
    ],
)
def test_is_image(space, expected):
    assert is_image(space) == expected


def test_bytes_are_scaled_to_zero_to_one_and_signed_differences_are_kept():
    encoder = ImageEncoder(bytes_box(2, 2), ())
    assert encoder(torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8)).tolist() == pytest.approx([0, 0.2, 0.4, 1])
    difference = ImageEncoder(Box(-1, 1, (1, 3), np.int8), ())
    assert difference(torch.tensor([[-1, 0, 1]], dtype=torch.int8)).tolist() == [-1.0, 0.0, 1.0]
    assert encoder.double()(torch.full((5, 4, 2, 2), 255, dtype=torch.uint8)).dtype == torch.float64


@pytest.mark.parametrize(("shape", "last"), [((12, 10), False), ((3, 12, 10), False), ((12, 10, 3), True)])
def test_convolutions_by_hand(shape, last):
    """12 x 10 under kernel 4, stride 2 is 5 x 4; under kernel 2, stride 1 then 4 x 3: 7 * 4 * 3 features."""
    torch.manual_seed(0)
    encoder = ImageEncoder(bytes_box(*shape), [[5, 4, 2], [7, 2, 1]]).double()
    assert encoder.out_size == 84
    image = torch.randint(256, (2, 6, *shape), dtype=torch.uint8)
    x = image.flatten(0, 1).double() / 255
    x = x.permute(0, 3, 1, 2) if last else x.reshape(12, -1, 12, 10)
    first, second = encoder.network[0], encoder.network[2]
    x = conv2d(x, first.weight, first.bias, stride=2).clamp_min(0)
    x = conv2d(x, second.weight, second.bias).clamp_min(0)
    found = encoder(image)
    assert found.shape == (2, 6, 84)
    torch.testing.assert_close(found, x.reshape(2, 6, 84))


def test_output_size_of_the_published_layers():
    """84 x 84 by 8/4 is 20 x 20, by 4/2 is 9 x 9: 32 * 81 numbers, as in Mnih et al."""
    assert ImageEncoder(bytes_box(4, 84, 84)).out_size == 2592


@pytest.mark.parametrize("cls", [GaussianMLP, FullGaussianMLP, DeterministicMLP, CategoricalMLP])
def test_policies_take_images_and_pass_gradients_to_every_layer(cls):
    space = Discrete(3) if cls is CategoricalMLP else ACTION
    torch.manual_seed(0)
    policy = cls(bytes_box(9, 9), space, convolutions=[[4, 3, 2]], hidden_sizes=(8,), out_scale=1.0).double()
    assert policy.normalizer is None  # the bounds of the space give the scale
    obs = torch.randint(256, (5, 7, 9, 9), dtype=torch.uint8)
    assert policy(obs).shape == ((5, 7) if cls is CategoricalMLP else (5, 7, 2))
    assert torch.equal(policy(obs), policy(obs.double()))  # evaluation passes floats, training bytes
    if cls is DeterministicMLP:
        target = policy(obs).sum()
    else:
        distribution = policy.raw_distribution(obs)
        chosen = distribution.sample(torch.randn(5, 7, policy.noise_size).double()).detach()
        target = distribution.log_prob(chosen).sum()
    gradients = torch.autograd.grad(target, list(policy.encoder.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_gradient_through_the_encoder_against_differences():
    torch.manual_seed(0)
    value = ValueMLP(36, None, ImageEncoder(bytes_box(7, 7), [[4, 3, 2]]), hidden_sizes=(8,)).double()
    obs = torch.randint(256, (6, 7, 7), dtype=torch.uint8)
    weight = value.encoder.network[0].weight
    (gradient,) = torch.autograd.grad(value(obs).square().sum(), weight)
    for index in ((0, 0, 0, 0), (3, 0, 2, 1)):
        ends = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                weight[index] += shift
                ends.append(value(obs).square().sum().item())
                weight[index] -= shift
        assert gradient[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_a_reinitialized_encoder_has_other_weights():
    encoder = ImageEncoder(bytes_box(9, 9), [[4, 3, 2]])
    other = encoder.reinitialized()
    assert other.out_size == encoder.out_size
    assert not torch.equal(other.network[0].weight, encoder.network[0].weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageEncoder(bytes_box(9)), "observation_space must be a Box of images, got"),
        (lambda: ImageEncoder(bytes_box(7, 9)), r"must fit an image of shape \(7, 9\), got a kernel of 8 for \[7, 9\]"),
        (lambda: ImageEncoder(bytes_box(9, 9), [[4, 3]]), r"must be \[channels, kernel, stride\] >= 1 .* got \[4, 3\]"),
        (lambda: ImageEncoder(bytes_box(9, 9), [[4, 3, 0]]), r">= 1 for each layer, got \[4, 3, 0\]"),
        (
            lambda: ImageEncoder(bytes_box(9, 9), [])(torch.zeros(2, 80)),
            r"obs must have shape \(9, 9\) in its last axes, got \(2, 80\)",
        ),
    ],
)
def test_messages_name_argument_rule_and_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_last_layer_reduces_the_features():
    """tanh of normalised numbers: computed here from the same weights."""
    policy = DeterministicMLP(bytes_box(3, 12, 12), ACTION, convolutions=((4, 3, 2),), feature_size=5).double()
    encoder = policy.encoder
    assert policy.obs_size == encoder.out_size == 5
    images = torch.randint(0, 256, (7, 3, 12, 12), dtype=torch.uint8)
    convolution, _, _, (linear,), *_ = encoder.network
    x = conv2d(images.double() / 255, convolution.weight, convolution.bias, stride=2).relu().flatten(1)
    x = x @ linear.weight.T + linear.bias
    expected = torch.tanh((x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt())
    torch.testing.assert_close(encoder(images), expected)
    assert policy.fresh_encoder().out_size == 5
    with pytest.raises(ValueError, match="feature_size must be >= 0, got -1"):
        ImageEncoder(bytes_box(3, 12, 12), feature_size=-1)
