"""Rllab's pendulums: Lagrange's equations, C MuJoCo along an episode, differences, rewards by hand, lengths."""

import math
import re

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks import TASKS
from diffsim.tasks.rllab.rllab_task import cylinder_inertia

CART_POLE, SWING_UP, ACROBOT, DOUBLE = (
    f"Rllab{name}-v0" for name in ("CartPole", "CartPoleSwingUp", "Acrobot", "DoublePendulum")
)
PENDULUMS = (CART_POLE, SWING_UP, ACROBOT, DOUBLE)
every_pendulum = pytest.mark.parametrize("id", PENDULUMS)


def rods(id):
    """Gravity x, z, and the bodies by hand: mass, moment of inertia, and centre x, z and angle of the positions."""
    if id in (CART_POLE, SWING_UP):
        pole_inertia = 0.1 * (0.1**2 + 1) / 12
        cart = (1.0, 0.0, lambda q: (q[0], 0 * q[0]), lambda q: 0 * q[0])
        pole = (0.1, pole_inertia, lambda q: (q[0] - 0.5 * q[1].sin(), 0.5 * q[1].cos()), lambda q: q[1])
        return (0.0, -10.0), [cart, pole]
    if id == ACROBOT:
        inertia = 0.5 * (0.1**2 + 1) / 12
        first = (0.5, inertia, lambda q: (0.5 * q[0].sin(), -0.5 * q[0].cos()), lambda q: q[0])

        def centre(q):
            absolute = q[0] + q[1]
            return q[0].sin() + 0.5 * absolute.sin(), -q[0].cos() - 0.5 * absolute.cos()

        return (0.0, -10.0), [first, (0.5, inertia, centre, lambda q: q[0] + q[1])]
    mass = 1000 * math.pi * 0.045**2 * 0.645
    inertia = mass * (3 * 0.045**2 + 0.645**2) / 12

    def upper(q):
        absolute = q[1] + q[2]
        x = q[0] + 0.6 * q[1].sin() + 0.3 * absolute.sin()
        return x, 0.6 * q[1].cos() + 0.3 * absolute.cos()

    cart = (1000 * math.pi * 0.1**2 * 0.3, 0.0, lambda q: (q[0], 0 * q[0]), lambda q: 0 * q[0])
    lower = (mass, inertia, lambda q: (q[0] + 0.3 * q[1].sin(), 0.3 * q[1].cos()), lambda q: q[1])
    return (1e-5, -9.81), [cart, lower, (mass, inertia, upper, lambda q: q[1] + q[2])]


def lagranges_acceleration(id, q, v, force):
    """Acceleration by d/dt (dL/dv) - dL/dq = force for the rods by hand, [nv]."""
    gravity, bodies = rods(id)

    def lagrangian(q, v):
        total = torch.zeros((), dtype=q.dtype)
        for mass, inertia, centre, angle in bodies:
            x, z = centre(q)
            gradients = [torch.autograd.grad(part, q, create_graph=True)[0] @ v for part in (x, z, angle(q) + 0 * x)]
            total = total + 0.5 * mass * (gradients[0] ** 2 + gradients[1] ** 2) + 0.5 * inertia * gradients[2] ** 2
            total = total + mass * (gravity[0] * x + gravity[1] * z)
        return total

    q, v = q.clone().requires_grad_(), v.clone().requires_grad_()
    by_q, by_v = torch.autograd.grad(lagrangian(q, v), (q, v), create_graph=True)
    mass = torch.stack([torch.autograd.grad(row, v, retain_graph=True)[0] for row in by_v])
    mixed = torch.stack([torch.autograd.grad(row, q, retain_graph=True)[0] for row in by_v])
    return torch.linalg.solve(mass, force + by_q - mixed @ v).detach()


FORCES = {  # of an action of 0.4, and the joints' damping
    CART_POLE: ((4.0, 0.0), 0.0),
    SWING_UP: ((4.0, 0.0), 0.0),
    ACROBOT: ((0.0, 20.0), 0.1),
    DOUBLE: ((200.0, 0.0, 0.0), 0.05),
}


@every_pendulum
def test_accelerations_are_lagranges(id):
    mdp = diffsim.make(id, num_envs=5)
    nv = mdp.mj_model.nv
    generator = torch.Generator().manual_seed(0)
    q, v = (scale * torch.randn(5, nv, generator=generator, dtype=mdp.dtype) for scale in (1.5, 3.0))
    point = mdp.simulator.forward(torch.cat([q, v], dim=1), torch.full((5, 1), 0.4, dtype=mdp.dtype))
    force, damping = FORCES[id]
    for world in range(5):
        total = torch.tensor(force, dtype=mdp.dtype) - damping * v[world]
        expected = lagranges_acceleration(id, q[world], v[world], total)
        torch.testing.assert_close(point.qacc[world], expected, rtol=1e-9, atol=1e-9)


@every_pendulum
@pytest.mark.parametrize("random_model", [False, True])
def test_an_episode_is_that_on_c_mujoco(id, random_model):
    """Observations to 1e-8 until differences in the last bits have grown: 40 steps of an acrobot, 80 of a swing-up."""
    env = gymnasium.make(id, random_model=random_model)
    obs, _ = env.reset(seed=1)
    mdp, data = diffsim.make(id, random_model=random_model), env.unwrapped.data
    lengths = env.unwrapped._lengths if random_model else []
    state = mdp.state_at(*(torch.tensor(part[None], dtype=mdp.dtype) for part in (data.qpos, data.qvel)), *lengths)
    draw = np.random.default_rng(0)
    steps = {ACROBOT: 40, SWING_UP: 80}.get(id, 500)
    for _ in range(steps):
        action = draw.uniform(-1.2, 1.2, 1)
        obs, reward, terminated, _, _ = env.step(action)
        given = torch.tensor(action[None], dtype=mdp.dtype)
        reached = mdp.transition(state, given)
        np.testing.assert_allclose(mdp.observation(reached)[0], obs, rtol=1e-8, atol=1e-8)
        assert mdp.reward(state, given, reached).item() == pytest.approx(reward, abs=1e-8)
        assert mdp.terminal(reached).item() == terminated
        state = reached
        if terminated:
            break
    assert terminated == (id in (CART_POLE, DOUBLE))


@every_pendulum
def test_gradients_equal_central_differences(id):
    mdp = diffsim.make(id, num_envs=2)
    state = mdp.initial(torch.Generator().manual_seed(3))
    action = torch.tensor([[0.3], [-0.7]], dtype=mdp.dtype)

    def outputs(qpos, qvel, action):
        start = mdp.state_at(qpos, qvel)
        middle = mdp.transition(start, action)
        reached = mdp.transition(middle, -0.5 * action)
        return mdp.observation(reached), mdp.reward(middle, -0.5 * action, reached)

    inputs = [part.contiguous().requires_grad_() for part in (*mdp.split(state)[:2], action)]
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-5, rtol=1e-6, atol=1e-6)


def values(id, qpos, qvel, action=0.0):
    """Observation, reward and end of a step that reached a state with an action, for one world."""
    mdp = diffsim.make(id)
    state = mdp.state_at(torch.tensor([qpos], dtype=mdp.dtype), torch.tensor([qvel], dtype=mdp.dtype))
    given = torch.tensor([[action]], dtype=mdp.dtype)
    return mdp.observation(state)[0].tolist(), mdp.reward(state, given, state).item(), mdp.terminal(state).item()


def test_cart_poles_by_hand():
    obs, reward, terminated = values(CART_POLE, [0.5, -0.15], [1.0, 2.0], action=0.5)
    assert obs == [0.5, 1.0, -0.15, 2.0] and not terminated
    assert reward == pytest.approx(10 - (1 - math.cos(0.15)) - 1e-5 * 25)
    for qpos in ([2.41, 0.0], [-2.41, 0.0], [0.0, 0.201], [0.0, -0.201]):
        assert values(CART_POLE, qpos, [0.0, 0.0])[1:] == (0.0, True)
    assert values(CART_POLE, [2.39, 0.199], [9.0, 9.0])[2] is False
    assert values(SWING_UP, [2.9, 2.0], [0.0, 0.0])[1:] == (pytest.approx(math.cos(2.0)), False)
    assert values(SWING_UP, [-3.1, 0.0], [0.0, 0.0])[1:] == (-100.0, True)


def test_a_positive_angle_leans_to_negative_x():
    mdp = diffsim.make(CART_POLE)
    top = mdp.simulator.xipos(torch.tensor([[0.0, 0.3]], dtype=mdp.dtype), ["pole"])[0, 0]
    np.testing.assert_allclose(top, [-0.5 * math.sin(0.3), 0, 0.5 * math.cos(0.3)], atol=1e-12)


def test_acrobot_by_hand():
    """Links at 0.3 and 1.2 from hanging; the tip's x has the mirrored second link."""
    obs, reward, terminated = values(ACROBOT, [0.3, 0.9], [0.5, -2.0])
    expected = [math.sin(0.3), math.cos(0.3), 0.5, math.sin(1.2), math.cos(1.2), -1.5]
    assert obs == pytest.approx(expected) and not terminated
    x, z = math.sin(0.3) - math.sin(1.2), -math.cos(0.3) - math.cos(1.2)
    assert reward == pytest.approx(-math.hypot(x, z - 2))
    assert values(ACROBOT, [math.pi, 0.0], [0.0, 0.0])[1] == pytest.approx(0.0, abs=1e-12)
    assert values(ACROBOT, [0.0, 0.0], [0.0, 0.0])[1] == -4.0


def test_double_pendulum_by_hand():
    obs, reward, terminated = values(DOUBLE, [0.4, 0.2, -0.5], [1.0, -12.0, 3.0])
    x, z = 0.4 + 0.6 * (math.sin(0.2) - math.sin(0.3)), 0.6 * (math.cos(0.2) + math.cos(0.3))
    sines, cosines = [math.sin(0.2), math.sin(-0.5)], [math.cos(0.2), math.cos(0.5)]
    assert obs == pytest.approx([0.4, *sines, *cosines, 1.0, -10.0, 3.0, 0, 0, 0])
    assert reward == pytest.approx(10 - 0.01 * x**2 - (z - 2) ** 2 - 1e-3 * 144 - 5e-3 * 9) and not terminated
    fallen = values(DOUBLE, [0.0, 0.6, 0.0], [0.0, 0.0, 0.0])
    assert fallen[2] and fallen[1] == pytest.approx(
        10 - 0.01 * (1.2 * math.sin(0.6)) ** 2 - (1.2 * math.cos(0.6) - 2) ** 2
    )


def test_starts():
    """Ranges or standard deviations of the observed numbers that vary at reset."""
    uniform = {
        CART_POLE: ([0.12, 0.2, 0.01, 0.2], [0.0] * 4),
        SWING_UP: ([1.0, 2.0, 1.0, 3.0], [0.0, 0.0, math.pi, 0.0]),
    }
    for id, (width, middle) in uniform.items():
        mdp = diffsim.make(id, num_envs=4000)
        obs = mdp.observation(mdp.initial(torch.Generator().manual_seed(0))) - torch.tensor(middle, dtype=mdp.dtype)
        unit = obs / torch.tensor(width, dtype=mdp.dtype)
        assert unit.abs().max() <= 1 and (unit.std(0) * math.sqrt(3) - 1).abs().max() < 0.03
    mdp = diffsim.make(ACROBOT, num_envs=4000)
    obs = mdp.observation(mdp.initial(torch.Generator().manual_seed(0)))
    angles, speeds = torch.atan2(obs[:, [0, 3]], obs[:, [1, 4]]), obs[:, [2, 5]]
    assert (angles.std(0) / 0.1 - 1).abs().max() < 0.05 and (speeds.std(0) / 0.01 - 1).abs().max() < 0.05
    assert abs(np.corrcoef(angles.T.numpy())[0, 1]) < 0.06
    mdp = diffsim.make(DOUBLE, num_envs=4000)
    state = mdp.initial(torch.Generator().manual_seed(0))
    unit = state[:, 1] / math.radians(20)
    assert unit.abs().max() <= 1 and unit.std() * math.sqrt(3) == pytest.approx(1, abs=0.03)
    assert not state[:, [0, 2, 3, 4, 5, 6, 7, 8]].any()


def with_lengths(id, lengths):
    """The model compiled from MJCF with other lengths."""
    text = TASKS[id].xml_file.read_text()
    first = lengths[0]
    if id == ACROBOT:
        text = text.replace("0.05 0.05 0.5", f"0.05 0.05 {first / 2}").replace(
            'pos="0 0 -0.5"', f'pos="0 0 {-first / 2}"'
        )
        text = text.replace('mass="0.5"', f'mass="{0.5 * first}"').replace('pos="0 0 -1"', f'pos="0 0 {-first}"')
    elif id == DOUBLE:
        text = text.replace('name="pole2" pos="0 0 0.6"', f'name="pole2" pos="0 0 {first}"')
        text = text.replace('name="tip" pos="0 0 0.6"', f'name="tip" pos="0 0 {lengths[1]}"')
        ends = iter(lengths)
        text = re.sub('fromto="0 0 0 0 0 0.6"', lambda _: f'fromto="0 0 0 0 0 {next(ends)}"', text)
    else:
        text = text.replace("0.05 0.05 0.5", f"0.05 0.05 {first / 2}").replace(
            'pos="0 0 0.5"', f'pos="0 0 {first / 2}"'
        )
        text = text.replace('mass="0.1"', f'mass="{0.1 * first}"')
    return cylinder_inertia(mujoco.MjSpec.from_string(text)).compile()


@every_pendulum
def test_fields_by_length_are_those_of_the_compiler(id):
    mdp = diffsim.make(id, num_envs=3)
    drawn = mdp.random_lengths(torch.Generator().manual_seed(0))
    fields = mdp.parameters(drawn)
    assert set(fields) >= {"body_mass", "body_inertia", "body_ipos"}
    for world, lengths in enumerate(drawn.tolist()):
        model = with_lengths(id, lengths)
        for name, value in fields.items():
            np.testing.assert_allclose(value[world], getattr(model, name), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(model.body_iquat, mdp.mj_model.body_iquat, atol=1e-12)
        assert ("body_pos" in fields) == (id in (ACROBOT, DOUBLE))
    lengths = drawn.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(mdp.parameters(x).values()), (lengths,))


@pytest.mark.parametrize(
    ("id", "low", "high"), [(CART_POLE, 0.5, 1.5), (SWING_UP, 0.5, 1.5), (ACROBOT, 0.5, 1.5), (DOUBLE, 0.5, 1.0)]
)
def test_drawn_lengths(id, low, high):
    drawn = diffsim.make(id, num_envs=2000).random_lengths(torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 2 if id == DOUBLE else 1)
    assert low <= drawn.min() < low + 0.01 and high - 0.01 < drawn.max() < high


@every_pendulum
def test_a_random_models_step_is_that_of_the_compiled_model(id):
    """Next states and rewards of three lengths, and their gradients by state, lengths and action."""
    mdp = diffsim.make(id, num_envs=3, random_model=True)
    state = mdp.initial(torch.Generator().manual_seed(2))
    action = torch.tensor([[0.3], [-0.7], [0.5]], dtype=mdp.dtype)
    reached = mdp.transition(state, action)
    nv = mdp.mj_model.nv
    for world, lengths in enumerate(mdp.lengths(state).tolist()):
        model = with_lengths(id, lengths)
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:], data.ctrl[:] = *state[world, : 2 * nv].split(nv), action[world]
        mujoco.mj_step(model, data, nstep=mdp.frame_skip)
        np.testing.assert_allclose(reached[world, : 2 * nv], [*data.qpos, *data.qvel], rtol=1e-9, atol=1e-9)
        if id == ACROBOT:
            first, second = data.qpos[0], data.qpos.sum()
            x, z = math.sin(first) - math.sin(second), -math.cos(first) - math.cos(second)
            reward = -lengths[0] * math.hypot(x, z - 2)
            assert mdp.reward(state, action, reached)[world].item() == pytest.approx(reward)
        if id == DOUBLE:
            tip = data.site("tip").xpos
            mujoco.mj_kinematics(model, data)
            np.testing.assert_allclose([part[world] for part in mdp.tip(reached)], tip[::2], atol=1e-9)

    def outputs(state, action):
        reached = mdp.transition(state, action)
        return mdp.observation(reached), mdp.reward(state, action, reached)

    inputs = (state.requires_grad_(), action.requires_grad_())
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-5, rtol=1e-6, atol=1e-6)
