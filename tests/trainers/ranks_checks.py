"""Checks that test_ranks.py runs in two processes, which share the worlds of a task."""

import pytest
import torch
from torch import distributed

import diffsim
from diffsim.trainers.run.ranks import any_rank, average_gradients, num_ranks, rank

TASKS = ["Hopper-v5", "Reacher-v5", "Humanoid-v5", "ReacherGoal-v0"]


@pytest.fixture(scope="module", autouse=True)
def _group():
    distributed.init_process_group("gloo")
    yield
    distributed.destroy_process_group()


def play(task):
    """State and observation of six worlds after four steps, a sum over them, and its gradients."""
    start = task.initial(torch.Generator().manual_seed(0)).requires_grad_(True)
    actions = torch.linspace(-0.4, 0.4, 4 * 6 * task.action_space.shape[0], dtype=task.dtype)
    actions = actions.view(4, 6, -1).requires_grad_(True)
    state, total = start, torch.zeros((), dtype=task.dtype)
    for action in actions:
        reached = task.transition(state, action)
        total = total + task.reward(state, action, reached).sum() + task.observation(reached).square().sum()
        state = reached
    total.backward()
    return state, task.observation(state), total, start.grad, actions.grad


@pytest.mark.parametrize("name", TASKS)
def test_shared_worlds_have_the_same_states_and_gradients_as_one_process(name):
    shared = diffsim.shard(diffsim.make(name, num_envs=3))
    assert shared.num_envs == 6
    for found, expected in zip(play(shared), play(diffsim.make(name, num_envs=6)), strict=True):
        torch.testing.assert_close(found, expected)
        assert found.abs().sum() > 0


def test_shared_worlds_have_the_same_second_derivatives_as_one_process():
    products = []
    for task in (diffsim.shard(diffsim.make("Hopper-v5", num_envs=3)), diffsim.make("Hopper-v5", num_envs=6)):
        state = task.initial(torch.Generator().manual_seed(0))
        ctrl = torch.linspace(-0.4, 0.4, 18, dtype=task.dtype).view(6, 3)
        direction = torch.linspace(-1, 1, state.numel(), dtype=task.dtype).view_as(state)
        loss = lambda x, task=task, ctrl=ctrl: (task.simulator.step(x, ctrl, 4) ** 2).sum()  # noqa: E731
        products.append(torch.autograd.functional.vhp(loss, state, direction)[1])
    torch.testing.assert_close(*products)
    assert products[0].abs().sum(1).min() > 0


def test_shared_worlds_have_the_same_process_noise_as_one_process():
    noise = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).to(diffsim.dtype)
    found = []
    for task in (
        diffsim.shard(diffsim.make("Hopper-v5", num_envs=3, process_noise=1.0)),
        diffsim.make("Hopper-v5", num_envs=6, process_noise=1.0),
    ):
        state = task.initial(torch.Generator().manual_seed(0))
        found.append(task.transition(state, torch.zeros(6, 3, dtype=task.dtype), noise))
    torch.testing.assert_close(*found)


def test_rows_must_be_those_of_all_worlds():
    shared = diffsim.shard(diffsim.make("Hopper-v5", num_envs=3))
    with pytest.raises(ValueError, match=r"arguments must have 6 rows, got 3"):
        shared.simulator.step(torch.zeros(3, 12), torch.zeros(3, 3))


def test_error_of_divergence_names_the_first_world_of_the_process():
    task = diffsim.make("Hopper-v5", num_envs=3)
    shared = diffsim.shard(task)
    state = torch.zeros(6, 12, dtype=task.dtype)
    state[:, 1] = 1.25
    state[[1, 4], 7] = float("nan")
    with pytest.raises(ValueError, match=rf"world 1.*, counted from world {3 * distributed.get_rank()}"):
        shared.transition(state, torch.zeros(6, 3, dtype=task.dtype))


def test_gradients_are_averaged():
    assert num_ranks() == 2
    weight, unused = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    weight.grad = torch.tensor([1.0, 4.0]) if rank() == 0 else torch.tensor([3.0, -4.0])
    average_gradients([weight, unused])
    assert weight.grad.tolist() == [2.0, 0.0] and unused.grad is None


def test_any_rank_is_true_on_all_ranks():
    assert any_rank(rank() == 1) and not any_rank(False)
