"""Actors whose noise is an argument: `action = policy(obs, noise)`, and `noise=None` is the likeliest action."""

from policies.categorical import CategoricalMLP
from policies.deterministic import DeterministicMLP
from policies.discrete import BernoulliMLP, RelaxedCategoricalMLP
from policies.discrete_q import DiscreteQMLP
from policies.distributions import Categoricals, DiagonalGaussian, Distribution, FullGaussian
from policies.encoder import ImageEncoder, is_image
from policies.gaussian import FullGaussianMLP, GaussianMLP
from policies.network import mlp
from policies.normalizer import ObservationNormalizer
from policies.policy import Policy, StochasticPolicy
from policies.q_value import QMLP
from policies.squash import ClipBox, TanhBox
from policies.value import ValueMLP

__all__ = [
    "BernoulliMLP",
    "CategoricalMLP",
    "Categoricals",
    "ClipBox",
    "DeterministicMLP",
    "DiagonalGaussian",
    "DiscreteQMLP",
    "Distribution",
    "FullGaussian",
    "FullGaussianMLP",
    "GaussianMLP",
    "ImageEncoder",
    "ObservationNormalizer",
    "Policy",
    "QMLP",
    "RelaxedCategoricalMLP",
    "StochasticPolicy",
    "TanhBox",
    "ValueMLP",
    "is_image",
    "mlp",
]
