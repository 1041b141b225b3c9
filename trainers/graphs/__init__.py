"""Stochastic computation graphs: one rule that gives the gradient estimator of any mixture of random choices.

It needs torch only. `StochasticGraph` declares nodes, and `surrogate` returns the loss whose gradient is the estimator.
`diffsim.trainers.graphs.drawing` draws graphs, and `diffsim.trainers.graphs.rollout_graph` makes one of an MDP.

Source: Schulman, Heess, Weber & Abbeel (2015), "Gradient estimation using stochastic computation graphs".
"""

from diffsim.trainers.graphs.baselines import Constant, Learned, LeaveOneOut, Rebar, Relax
from diffsim.trainers.graphs.estimators import (
    Enumerated,
    Estimator,
    GumbelSoftmax,
    MeasureValued,
    Reparameterised,
    ScoreFunction,
    StraightThrough,
)
from diffsim.trainers.graphs.graph import Node, StochasticGraph
from diffsim.trainers.graphs.surrogate import Evaluated, check_edges, evaluate, sample, surrogate

__all__ = [
    "Constant",
    "Enumerated",
    "Estimator",
    "Evaluated",
    "GumbelSoftmax",
    "Learned",
    "LeaveOneOut",
    "MeasureValued",
    "Node",
    "Rebar",
    "Relax",
    "Reparameterised",
    "ScoreFunction",
    "StochasticGraph",
    "StraightThrough",
    "check_edges",
    "evaluate",
    "sample",
    "surrogate",
]
