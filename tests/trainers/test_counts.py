"""Numbers of updates and env steps are exact."""

import pytest
import torch
from torch.optim import SGD

from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.maths.counts import due
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.registry import ALGORITHMS, choose
from diffsim.trainers.value_gradient.dpg import DPG
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep
from tests.trainers.q_learners import make, run, small_sac
from tests.trainers.running import runner
from tests.trainers.small_envs import Chain, Target, vector


def test_rates_stand_for_the_fractions_that_they_round():
    """int(1 / n * n * k) misses counts: at n = 49, say, the half of them."""
    for n in range(1, 200):
        assert [due(1.0 / n, n * k) for k in (1, 2, 3, 1000)] == [1, 2, 3, 1000], n
        assert due(1.0 / n, n - 1) == 0
    assert due(0.29, 100) == 29 and int(0.29 * 100) == 28
    assert due(1e-7, 10**7) == 1 and due(2.5, 3) == 7


def test_on_policy_dpg_updates_after_every_step_of_all_copies():
    dpg = make(DPG, DeterministicMLP, vector(Chain, 49), data="on_policy", steps=98, critic_hidden_sizes=(4,))
    counts = []
    dpg.update = lambda batch: counts.append(dpg.env_steps) or {}
    dpg.iterate()
    dpg.iterate()
    assert counts == [49, 98, 147, 196]


def test_an_off_policy_run_ends_at_its_budget_of_env_steps(tmp_path):
    """Iterations of 12 env steps in 2 copies, up to 17 env steps: 12, then 6. Without a budget, 12 again."""
    limited = runner(RunOptions(task="small", env_steps=17))(small_sac(), tmp_path / "limited", 9)
    assert (limited.iteration, limited.env_steps) == (2, 18)
    assert run(small_sac(), tmp_path / "free", 2).env_steps == 24


@pytest.mark.parametrize(
    "name", ["ActorCritic", "A2C", "PPO", "NaturalGradient", "TRPO", "SVG0", "StepRWR", "StepREPS"]
)
def test_the_size_of_an_iteration_is_known_before_it(name):
    """The first has a warm-up of the observation statistics too: 2,048 steps, rounded up to 3 copies."""
    cls = choose("algorithm", name, ALGORITHMS)
    short = {"horizon": 4, "updates": 2, "steps": 5}
    kwargs = {key: value for key, value in short.items() if key in cls.options}
    env = vector(Target, 3)
    spaces = env.single_observation_space, env.single_action_space
    algorithm = cls(env, GaussianMLP(*spaces, hidden_sizes=(4,), normalize=True).double(), **kwargs)
    size, extra = algorithm.iteration_size(), algorithm.warm_up_size()
    assert size == {"ActorCritic": 15, "A2C": 24}.get(name, 12)
    assert extra == (0 if name in ("SVG0", "StepREPS") else 2049)
    algorithm.train_iteration()
    assert (algorithm.env_steps, algorithm.warm_up_size()) == (extra + size, 0)
    algorithm.train_iteration()
    assert algorithm.env_steps == extra + 2 * size


def test_a_parameter_in_two_optimizers_is_refused_and_an_unused_one_too():
    class Twice(DPG):
        def make_optimizers(self):
            return [SGD(self.policy.parameters()), SGD([*self.critic.parameters(), *self.policy.parameters()])]

    with pytest.raises(ValueError, match="every parameter must be in one optimizer, got policy.* in 0 and 1"):
        make(Twice, DeterministicMLP, vector(Chain, 1), critic_hidden_sizes=(4,))
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError, match="to not have been used in the graph"):
        OptimizerStep(SGD([used, unused]))(used.sum())
    OptimizerStep(SGD([used], lr=0.5))(used.sum())
    assert used.tolist() == [0.5, 0.5]
