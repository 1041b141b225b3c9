"""Compiled updates: equal to updates that are not compiled, and exactly resumed."""

import copy
import types

import pytest
import torch

from diffsim.policies import DeterministicMLP, DiscreteQMLP, GaussianMLP
from diffsim.trainers.errors import UsageError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.value_gradient.compile_updates import compiled
from diffsim.trainers.value_gradient.crossq import CrossQ
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.dpg import DPG
from diffsim.trainers.value_gradient.dqn import DQN
from diffsim.trainers.value_gradient.optimizer_step import CompiledAdam
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.td3 import TD3
from tests.trainers.running import assert_resumes_exactly, runner

SMALL = {"steps": 12, "warmup_steps": 9, "batch_size": 8, "replay_size": 30}
CRITIC = {"critic_hidden_sizes": (8,), "updates_per_step": 1.0}
STATE = {"std": "state", "normalize": False}
CASES = {
    "DPG": (DPG, DeterministicMLP, {}, CRITIC),
    "DDPG": (DDPG, DeterministicMLP, {}, CRITIC | {"critic_weight_decay": 0.1, "target_range": (-9.0, 0.0)}),
    "TD3": (TD3, DeterministicMLP, {"normalize": False}, CRITIC),
    "SAC": (SAC, GaussianMLP, STATE, CRITIC | {"critic_layer_norm": True, "decay_env_steps": (0, 100)}),
    "CrossQ": (CrossQ, GaussianMLP, STATE | {"batch_renorm": True}, CRITIC),
    "DQN": (DQN, DiscreteQMLP, {}, {}),
}


def make(name, **options):
    cls, kind, policy, own = CASES[name]
    torch.manual_seed(0)
    env = make_env("CartPole-v1" if name == "DQN" else "Pendulum-v1", 2, seed=1)
    net = kind(env.single_observation_space, env.single_action_space, hidden_sizes=(8,), **policy).double()
    return cls(env, net, seed=0, **SMALL, **own, **options)


def ready(name, **options):
    """The algorithm with experience in its replay buffer."""
    algorithm = make(name, **options)
    algorithm.warmup_steps = 10**9
    algorithm.iterate()
    return algorithm


@pytest.fixture
def traced(monkeypatch):
    """Graphs are traced, with gradients and optimizer steps, but not compiled to machine code, which is slow."""
    compile_by = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, *, fullgraph, **_: compile_by(function, backend="aot_eager", fullgraph=fullgraph),
    )


def assert_same_updates(algorithm, other, count):
    for algorithm.updates in range(count):
        other.updates = algorithm.updates
        algorithm.env_steps = other.env_steps = algorithm.env_steps + 2  # for learning rates that decay
        metrics, expected = (each.update(each.batch()) for each in (algorithm, other))
        torch.testing.assert_close(metrics, expected)
    state = other.state_dict()
    for name, value in algorithm.state_dict().items():
        torch.testing.assert_close(value, state[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", CASES)
def test_a_traced_update_equals_the_plain_one(traced, name):
    """Six updates, with and without TD3's update of the policy."""
    first = copy.deepcopy(dict(ready(name).state_dict()))
    algorithm = ready(name, compile_updates=True)
    assert_same_updates(algorithm, ready(name), 6)
    assert any(not torch.equal(value, first[key]) for key, value in algorithm.state_dict().items())


def test_a_compiled_update_equals_the_plain_one():
    """In machine code, after two updates that were not compiled: Adam's moments and counts are kept."""
    algorithm, other = ready("SAC"), ready("SAC")
    assert_same_updates(algorithm, other, 2)
    algorithm.learn, algorithm.compile_updates = compiled(algorithm.learn), True
    assert_same_updates(algorithm, other, 4)


def test_a_checkpoint_can_be_loaded_between_updates(traced):
    """Later updates use the moments that were loaded."""
    algorithm, other = ready("DDPG", compile_updates=True), ready("DDPG")
    saved = copy.deepcopy((algorithm.state_dict(), [x.state_dict() for x in algorithm.optimizers]))
    state = copy.deepcopy(algorithm.training_state())
    assert_same_updates(algorithm, other, 2)
    for each in (algorithm, other):
        each.load_training_state(state)
        each.load_state_dict(saved[0])
        for optimizer, moments in zip(each.optimizers, copy.deepcopy(saved[1]), strict=True):
            optimizer.load_state_dict(moments)
    assert_same_updates(algorithm, other, 3)


def test_options_can_change_between_updates(traced):
    """Numbers, and the size of batches."""
    algorithm, other = ready("DDPG", compile_updates=True), ready("DDPG")
    assert_same_updates(algorithm, other, 2)
    for each in (algorithm, other):
        each.target_rate, each.action_penalty, each.batch_size = 0.5, 1.0, 6
    assert_same_updates(algorithm, other, 2)


def test_several_learners_in_one_process_have_separate_graphs(traced):
    """They differ only in the class of a module, and in a hook of it."""
    for activation, hook in ((torch.nn.ReLU, False), (torch.nn.Tanh, False), (torch.nn.Tanh, True)):
        algorithm, other = ready("DDPG", compile_updates=True), ready("DDPG")
        for each in (algorithm, other):
            each.critic.activation = activation()
            if hook:
                each.critic.activation.register_forward_hook(lambda module, args, out: 2.0 * out)
        assert_same_updates(algorithm, other, 2)


def test_a_parameter_that_the_loss_does_not_depend_on_is_refused(traced):
    """It would be one of another learner."""
    weights = [torch.nn.Parameter(torch.tensor(value).double()) for value in (1.0, 2.0)]
    optimizer = torch.optim.Adam(weights, lr=0.1)
    with pytest.raises(RuntimeError, match="(?i)unused|not have been used"):
        compiled(lambda step, weight: step((3.0 * weight).square()))(CompiledAdam(optimizer), weights[0])
    assert [weight.item() for weight in weights] == [1.0, 2.0]


def test_resuming_a_compiled_run_is_exact(traced, tmp_path):
    run = runner(RunOptions(task="small", evaluate_every=2))
    assert_resumes_exactly(run, lambda: make("SAC", compile_updates=True), tmp_path, "weight")


def test_error_without_a_compiler(monkeypatch):
    def fails(function):
        raise RuntimeError("no compiler here\nand more\nof a trace")

    algorithm = make("TD3", compile_updates=True)
    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(UsageError, match="compile_updates must be false.*no compiler here and more$"):
        algorithm.check()
    make("TD3").check()


def test_error_for_a_torch_that_cannot_trace_gradients(monkeypatch):
    monkeypatch.setattr("torch._dynamo.config", types.SimpleNamespace())
    with pytest.raises(ValueError, match=r"compile_updates needs .* got 2"):
        make("DDPG", compile_updates=True)
