"""SVG(0) with discrete actions: gradients through one-hot vectors and bits."""

import pytest
import torch
from gymnasium.spaces import MultiBinary

from diffsim.policies import BernoulliMLP, RelaxedCategoricalMLP
from diffsim.policies.discrete import ESTIMATORS
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.value_gradient.svg0 import SVG0
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.small_envs import Target, vector

run = runner(RunOptions(task="small", evaluate_every=100))


class Bits(Target):
    """Episodes of two steps. The reward is the part of three bits that are right: all 1 or all 0, by the sign."""

    action_space = MultiBinary(3)

    def __init__(self):
        pass

    def step(self, action):
        good = float((action == (self.sign > 0)).mean())
        self.age += 1
        return self._observation(), good, self.age == 2, False, {}


class Strict(Target):
    """Raises an error for actions outside its action space."""

    def __init__(self):
        super().__init__(discrete=True)

    def step(self, action):
        assert self.action_space.contains(action), action
        return super().step(action)


def make(kind, world, seed=0, **policy):
    torch.manual_seed(seed)
    env = vector(world, 4)
    net = kind(env.single_observation_space, env.single_action_space, hidden_sizes=(16,), **policy).double()
    return SVG0(env, net, seed=seed, horizon=16, learning_rate=1e-2, critic_learning_rate=1e-2, minibatches=1)


CASES = [*((RelaxedCategoricalMLP, Strict, {"estimator": name}) for name in ESTIMATORS), (BernoulliMLP, Bits, {})]


@pytest.mark.parametrize(("kind", "world", "policy"), CASES)
def test_it_learns_the_best_actions(kind, world, policy, tmp_path):
    svg0 = run(make(kind, world, **policy), tmp_path, 40)
    rows = RunFolder(tmp_path).read_metrics()
    assert rows[0]["return"] < 1.5 and rows[-1]["return"] > 1.8
    obs = torch.tensor([[sign, age] for sign in (-1.0, 1.0) for age in (0.0, 1.0)]).double()
    best = [0, 0, 2, 2] if kind is RelaxedCategoricalMLP else [[0] * 3] * 2 + [[1] * 3] * 2
    assert svg0.policy.decode(svg0.policy(obs)).tolist() == best


def test_the_critic_takes_one_hot_vectors():
    svg0 = make(RelaxedCategoricalMLP, Strict)
    window = svg0.next_window()
    assert window.action.shape == (64, 3)
    assert torch.equal(window.action.sort(-1).values, torch.tensor([0.0, 0.0, 1.0]).double().expand(64, 3))
    assert set(window.action.argmax(-1).tolist()) == {0, 1, 2}
    seen = []
    svg0.critic.activation.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    svg0.critic(window.obs[:1], window.action[:1])
    weight, bias = svg0.critic.weights[0][0], svg0.critic.biases[0][0]
    inputs = torch.cat([svg0.policy.normalizer(window.obs[:1]), window.action[:1]], dim=-1)
    torch.testing.assert_close(seen[0][0], inputs @ weight + bias)


def test_resuming_is_exact(tmp_path):
    options = {"temperature": 1.0, "final_temperature": 0.1, "anneal_env_steps": 200}
    often = runner(RunOptions(task="small", evaluate_every=2))
    assert_resumes_exactly(often, lambda: make(RelaxedCategoricalMLP, Strict, **options), tmp_path, "weight")


def test_error_for_a_policy_with_other_actions():
    with pytest.raises(TypeError, match="action_space must be MultiBinary, got Discrete"):
        make(BernoulliMLP, Strict)
