"""Actors whose noise is an argument: `action = policy(obs, noise)`; `noise=None` gives the mean or the mode."""

from diffsim.policies.batch_renorm import BatchRenorm, batch_statistics
from diffsim.policies.categorical import CategoricalMLP
from diffsim.policies.deterministic import DeterministicMLP
from diffsim.policies.discrete import BernoulliMLP, RelaxedCategoricalMLP
from diffsim.policies.discrete_q import DiscreteQMLP
from diffsim.policies.distributions import Categoricals, DiagonalGaussian, Distribution, FullGaussian, Mixed
from diffsim.policies.encoder import ImageEncoder
from diffsim.policies.gaussian import FullGaussianMLP, GaussianMLP
from diffsim.policies.helicopter import HelicopterPolicy
from diffsim.policies.hybrid import HybridMLP
from diffsim.policies.linear import FeaturePolicy, LinearPolicy, RBFPolicy
from diffsim.policies.linear_choice import LinearChoice
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.network import mlp
from diffsim.policies.normalizer import ObservationNormalizer
from diffsim.policies.policy import Policy, StochasticPolicy, as_tensor
from diffsim.policies.q_value import QMLP
from diffsim.policies.recurrent import GRUPolicy, LSTMPolicy, RecurrentPolicy
from diffsim.policies.renorm_q_value import RenormQMLP
from diffsim.policies.sequences import Sequences
from diffsim.policies.spaces import Observations, is_image
from diffsim.policies.squash import ClipBox, TanhBox
from diffsim.policies.value import ValueMLP

__all__ = [
    "BatchRenorm",
    "BernoulliMLP",
    "CategoricalMLP",
    "Categoricals",
    "ClipBox",
    "DeterministicMLP",
    "DiagonalGaussian",
    "DiscreteQMLP",
    "Distribution",
    "FeaturePolicy",
    "FullGaussian",
    "FullGaussianMLP",
    "GRUPolicy",
    "GaussianMLP",
    "HelicopterPolicy",
    "HybridMLP",
    "ImageEncoder",
    "LSTMPolicy",
    "LinearPolicy",
    "LinearChoice",
    "MLPPolicy",
    "Mixed",
    "ObservationNormalizer",
    "Observations",
    "Policy",
    "QMLP",
    "RBFPolicy",
    "RecurrentPolicy",
    "RelaxedCategoricalMLP",
    "RenormQMLP",
    "Sequences",
    "StochasticPolicy",
    "TanhBox",
    "ValueMLP",
    "as_tensor",
    "batch_statistics",
    "is_image",
    "mlp",
]
