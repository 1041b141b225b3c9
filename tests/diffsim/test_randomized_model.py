"""Domain randomization: every world steps as C MuJoCo does with fields of its own."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks import RandomizedModel, Task, official_env

RANGES = {
    "geom_friction": (0.5, 1.5),
    "body_mass:*": (0.5, 2.0),
    "dof_damping:thigh_joint": (2.0, 4.0),
    "actuator_gear:*": (0.8, 1.2),
    "timestep": (0.8, 1.0),
}


class FallingBox(Task):
    """A free body, whose gyroscopic forces implicitfast integrates implicitly."""

    xml_file = """
        <mujoco>
          <option integrator="implicitfast"/>
          <worldbody><body><freejoint/><geom size="0.1"/></body></worldbody>
        </mujoco>"""

    def reset_model(self, generator):
        return self.init_qpos.expand(self.num_envs, -1), torch.zeros(self.num_envs, 6, dtype=self.dtype)

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return -state[:, 2]


@pytest.fixture(scope="module")
def hopper():
    mdp = diffsim.make("Hopper-v5", num_envs=5, randomize=RANGES)
    assert isinstance(mdp, RandomizedModel)
    return mdp


def test_worlds_step_with_the_fields_in_their_state(hopper):
    state = hopper.initial(torch.Generator().manual_seed(0))
    action = torch.linspace(-1, 1, 15, dtype=state.dtype).reshape(5, 3)
    fields = {name: value.double().numpy() for name, value in hopper.parameters(state).items()}
    qpos, qvel, _ = (part.double().numpy() for part in hopper.task.split(hopper.inner(state)))
    for _ in range(15):  # long enough to touch the floor
        state = hopper.transition(state, action)
    mj_model = hopper.task.load_model()
    data = mujoco.MjData(mj_model)
    for world in range(5):
        for name, values in fields.items():
            setattr(mj_model.opt if name == "timestep" else mj_model, name, values[world])
        mujoco.mj_resetData(mj_model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = qpos[world], qvel[world], action[world]
        mujoco.mj_step(mj_model, data, 15 * hopper.task.frame_skip)
        end = np.concatenate([data.qpos, data.qvel])
        np.testing.assert_allclose(hopper.inner(state)[world].numpy(), end, rtol=0, atol=1e-9)


def test_factors_are_in_their_ranges_drawn_anew_and_kept(hopper):
    generator = torch.Generator().manual_seed(1)
    state, again = hopper.initial(generator), hopper.initial(generator)
    m, fields = hopper.task.mj_model, hopper.parameters(state)
    mass = fields["body_mass"].numpy()[:, 1:] / m.body_mass[1:]
    inertia = fields["body_inertia"].numpy()[:, 1:] / m.body_inertia[1:]
    friction = fields["geom_friction"].numpy() / m.geom_friction
    damping = fields["dof_damping"].numpy()
    assert mass.min() >= 0.5 and mass.max() <= 2.0 and np.unique(mass.round(5)).size == mass.size
    np.testing.assert_allclose(inertia, mass[:, :, None].repeat(3, 2), rtol=1e-5)
    assert np.ptp(friction, axis=(1, 2)).max() < 1e-5 and np.unique(friction[:, 0, 0]).size == 5
    np.testing.assert_allclose(damping[:, [0, 1, 2, 4, 5]], np.tile(m.dof_damping[[0, 1, 2, 4, 5]], (5, 1)))
    assert (damping[:, 3] >= 2 * m.dof_damping[3] - 1e-6).all() and (damping[:, 3] <= 4 * m.dof_damping[3] + 1e-6).all()
    assert not (hopper.own(state) == hopper.own(again)).any()
    action = torch.zeros(5, 3, dtype=state.dtype)
    assert torch.equal(hopper.own(hopper.transition(state, action)), hopper.own(state))


def test_gradients_flow_through_the_worlds_own_dynamics(hopper):
    state = hopper.initial(torch.Generator().manual_seed(2))
    weight = torch.arange(state.shape[1], dtype=state.dtype).cos()

    def value(action):
        return (hopper.transition(hopper.transition(state, action), action) * weight).sum(1)

    action = torch.full((5, 3), 0.1, dtype=state.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(action).sum(), action)
    ahead, behind = (value(action.detach() + torch.tensor([h, 0, 0], dtype=state.dtype)) for h in (1e-6, -1e-6))
    torch.testing.assert_close(gradient[:, 0], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            {"geom_fricton": (0.5, 1.5)},
            "randomize must be of body_mass.*'geom_fricton'; did you mean geom_friction",
        ),
        ({"geom_friction": 0.5}, r"randomize\['geom_friction'\] must be a range .low, high. .* got 0.5"),
        ({"geom_friction": (1.5, 0.5)}, "must be a range"),
        ({"body_mass": (-1.0, 0.5)}, "must be a range"),
        ({"body_mass:tors": (0.5, 1.0)}, "randomize has the body 'tors'.*did you mean torso"),
        ({"gravity:x": (0.5, 1.0)}, "'gravity' without an element's name"),
        ({"body_quat": (0.5, 1.0)}, "must not have body_quat"),
        ({"timestep": (0.0, 1.0)}, "must be positive"),
    ],
)
def test_bad_ranges(ranges, message):
    with pytest.raises(ValueError, match=message):
        diffsim.make("Hopper-v5", randomize=ranges)


def test_parameters_that_a_model_does_not_take_are_refused_at_once():
    with pytest.raises(ValueError, match="must not contain body_mass.* with integrator=implicitfast"):
        diffsim.make(FallingBox, randomize={"body_mass": (0.5, 1.5)})


def test_only_worlds_on_the_simulator_are_randomized():
    ranges = {"geom_friction": (0.5, 1.5)}
    with pytest.raises(ValueError, match="empty for RllabMountainCar"):
        diffsim.make("RllabMountainCar-v0", randomize=ranges)
    with pytest.raises(ValueError, match="empty for a task with random_model=True"):
        diffsim.make("RllabCartPole-v0", random_model=True, randomize=ranges)
    with pytest.raises(ValueError, match="randomize must be an option of worlds on the simulator"):
        official_env("Hopper-v5", randomize=ranges)
