"""Actors whose noise is an argument: `action = policy(obs, noise)`, and `noise=None` is the mean action."""

from policies.deterministic import DeterministicMLP
from policies.gaussian import GaussianMLP
from policies.network import mlp
from policies.normalizer import ObservationNormalizer
from policies.policy import Policy
from policies.squash import TanhBox
from policies.value import ValueMLP

__all__ = ["DeterministicMLP", "GaussianMLP", "ObservationNormalizer", "Policy", "TanhBox", "ValueMLP", "mlp"]
