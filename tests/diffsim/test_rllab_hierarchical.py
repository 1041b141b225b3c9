"""rllab's gathering and maze tasks: sensors by hand and by `mj_ray`, rewards and ends by hand, both engines."""

from math import atan2, cos, hypot, pi, sin

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks.rllab import gather, maze

from .reference import converge

GATHER, MAZES = ["RllabSwimmerGather-v0", "RllabAntGather-v0"], ["RllabSwimmerMaze-v0", "RllabAntMaze-v0"]
OBSERVED = dict(zip([*GATHER, *MAZES], (33, 145, 53, 165), strict=True))
every_task = pytest.mark.parametrize("id", OBSERVED)


@pytest.fixture(scope="module")
def swimmer_gather():
    return diffsim.make("RllabSwimmerGather-v0")


@pytest.fixture(scope="module")
def swimmer_maze():
    return diffsim.make("RllabSwimmerMaze-v0", num_envs=40)


def memory_of(apples: list[tuple[float, float]], bombs: list[tuple[float, float]]) -> torch.Tensor:
    """Memory of a world in which only these objects are left."""
    left, places = torch.zeros(16, dtype=torch.float64), torch.zeros(16, 2, dtype=torch.float64)
    for start, objects in ((0, apples), (8, bombs)):
        for index, place in enumerate(objects, start=start):
            left[index], places[index] = 1.0, torch.tensor(place, dtype=torch.float64)
    return torch.cat([left, places.flatten()])[None]


def swimmer_at(mdp, x: float, y: float, angle: float, memory: torch.Tensor | None = None) -> torch.Tensor:
    """A straight swimmer at rest, with its centre of mass at a place: it is where qpos puts the torso's origin."""
    qpos = torch.tensor([[x, y, angle, 0.0, 0.0]], dtype=torch.float64).expand(mdp.num_envs, -1)
    arguments = () if memory is None else (memory,)
    return mdp.state_at(qpos, torch.zeros_like(qpos), *arguments)


@every_task
def test_promises_gradients_and_the_environment(id):
    report = diffsim.check_task(id, num_envs=3, num_steps=8, tolerance=1e-7)
    assert report.ok, str(report)
    assert diffsim.make(id).observation_space.shape == (OBSERVED[id],)


@pytest.mark.parametrize(
    ("id", "speed"), [("RllabAntGather-v0", 4.0), ("RllabSwimmerMaze-v0", 1.5), ("RllabAntMaze-v0", 4.0)]
)
def test_robots_run_into_walls_on_both_engines(id, speed):
    """Both engines agree while a robot that was thrown at a wall touches it."""
    env = gymnasium.make(id).unwrapped
    converge(env.model)
    env.reset(seed=0)
    qpos, qvel = env.data.qpos.copy(), np.zeros(env.model.nv)
    place = {"RllabAntGather-v0": (5.6, 0), "RllabSwimmerMaze-v0": (8.3, 0), "RllabAntMaze-v0": (6.6, 0)}[id]
    qpos[:2], qvel[0] = place, speed
    env.set_state(qpos, qvel)
    mdp = diffsim.make(id)
    state = mdp.state_at(torch.tensor(qpos[None]), torch.tensor(qvel[None]))
    rng, touched = np.random.default_rng(0), False
    for _ in range(8):
        action = rng.uniform(-0.3, 0.3, env.model.nu)
        obs, reward, terminated, _, _ = env.step(action)
        mujoco.mj_forward(env.model, env.data)
        boxes = env.model.geom_type[env.data.contact.geom] == mujoco.mjtGeom.mjGEOM_BOX
        touched |= bool(boxes.any())
        act = torch.tensor(action[None])
        next_state = mdp.transition(state, act)
        np.testing.assert_allclose(mdp.observation(next_state)[0], obs, rtol=1e-8, atol=1e-8)
        assert mdp.reward(state, act, next_state).item() == reward
        assert mdp.terminal(next_state).item() == terminated
        state = next_state
    assert touched


def test_where_objects_lie():
    mdp = diffsim.make("RllabSwimmerGather-v0", num_envs=7000)
    left, places = gather.objects(mdp.memory(mdp.initial(torch.Generator().manual_seed(0))))
    assert (left == 1).all()
    assert set(places.unique().tolist()) == {-6, -4, -2, 0, 2, 4}  # numpy.random.randint(-3, 3) * 2
    numbers = (places[:, :, 0] + 6) * 3 + (places[:, :, 1] + 6) / 2
    assert (numbers.sort(dim=1).values.diff(dim=1) > 0).all()  # none twice
    for objects in (numbers[:, :8], numbers[:, 8:]):
        counts = torch.bincount(objects.flatten().long(), minlength=36)
        assert counts[21] == 0  # the origin
        # Each of 35 places is among 8 of them with probability 8/35: five standard deviations.
        expected = 7000 * 8 / 35
        assert ((counts[counts > 0] - expected).abs() < 5 * (expected * 27 / 35) ** 0.5).all()


def test_readings_by_hand(swimmer_gather):
    """From (1, 1), heading 0.3: the nearest apple of a sector counts, and nothing behind or beyond 6 m."""
    apples = [(3, 1), (5, 1.0), (-2, 1), (1, 4), (1, -6)]
    bombs = [(4, 2)]
    state = swimmer_at(swimmer_gather, 1, 1, 0.3, memory_of(apples, bombs))
    found = swimmer_gather.readings(state)[0]
    expected = torch.zeros(2, 10, dtype=torch.float64)

    def sector(x: float, y: float) -> int:
        return int((atan2(y - 1, x - 1) - 0.3 + pi / 2) // (pi / 10))

    expected[0, sector(3, 1)] = 1 - 2 / 6  # hides the one at 4 m in the same sector
    expected[0, sector(1, 4)] = 1 - 3 / 6
    expected[1, sector(4, 2)] = 1 - hypot(3, 1) / 6
    assert (sector(3, 1), sector(1, 4), sector(4, 2)) == (4, 9, 5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert swimmer_gather.observation(state).shape == (1, 33)
    torch.testing.assert_close(swimmer_gather.observation(state)[0, 13:], expected.flatten())
    # Heading is an angle: full turns change nothing.
    turned = swimmer_at(swimmer_gather, 1, 1, 0.3 - 6 * pi, memory_of(apples, bombs))
    torch.testing.assert_close(swimmer_gather.readings(turned)[0], expected, rtol=1e-9, atol=1e-9)


def test_catches_by_hand(swimmer_gather):
    """Two apples and a bomb are nearer than 1 m to where the robot stays, and one apple at 1.2 m is not."""
    zero = torch.zeros(1, 2, dtype=torch.float64)
    memory = memory_of([(0.5, 0), (0, -0.9), (1.2, 0)], [(0.3, 0.3)])
    state = swimmer_at(swimmer_gather, 0, 0, 0, memory)
    reached = swimmer_gather.transition(state, zero)
    assert swimmer_gather.reward(state, zero, reached).item() == 2 - 1
    assert gather.objects(swimmer_gather.memory(reached))[0].sum() == 1
    assert torch.equal(swimmer_gather.memory(reached)[:, 16:], memory[:, 16:])
    assert not swimmer_gather.terminal(reached)
    again = swimmer_gather.transition(reached, zero)
    assert swimmer_gather.reward(reached, zero, again).item() == 0
    last = swimmer_at(swimmer_gather, 0, 0, 0, memory_of([], [(0.3, 0.3)]))
    reached = swimmer_gather.transition(last, zero)
    assert swimmer_gather.reward(last, zero, reached).item() == -1 and swimmer_gather.terminal(reached)


def test_death_costs_ten_and_catches_nothing():
    mdp = diffsim.make("RllabAntGather-v0")
    qpos = mdp.init_qpos[None].clone()
    qpos[:, 2] = 1.2
    state = mdp.state_at(qpos, torch.zeros(1, 14, dtype=torch.float64), memory_of([(0.1, 0.1)], [(4, 4)]))
    action = torch.zeros(1, 8, dtype=torch.float64)
    reached = mdp.transition(state, action)
    assert mdp.terminal(reached) and mdp.reward(state, action, reached).item() == -10
    assert torch.equal(mdp.memory(reached), mdp.memory(state))


def test_environment_carries_objects():
    env = gymnasium.make("RllabSwimmerGather-v0").unwrapped
    first = env.reset(seed=1)[0]
    objects = env.task.memory(env.state).clone()
    assert not np.array_equal(first[13:], env.reset(seed=2)[0][13:])
    np.testing.assert_array_equal(env.reset(seed=1)[0], first)
    env.step(np.zeros(2))
    assert torch.equal(env.task.memory(env.state)[:, 16:], objects[:, 16:])


def test_the_maze_and_its_rays_by_hand(swimmer_maze):
    """From the start, heading along x: walls of 4 m wide corridors ahead, left and right; the goal is hidden."""
    assert maze.cells("g", 4.0) == [(0.0, 8.0)] and len(maze.cells("#", 4.0)) == 18
    readings = swimmer_maze.readings(swimmer_at(swimmer_maze, 0.5, 0.2, 0.0))[0]
    assert (readings[1] == 0).all()
    for index in range(20):
        angle = -pi / 2 + (index + 0.5) * pi / 20
        # Corridor of y in [-2, 2] and x up to 10; its upper wall is open from x = 6.
        distance = (9.5 / cos(angle)) if abs(9.5 * np.tan(angle) + 0.2) < 2 else None
        if distance is None and angle < 0:
            distance = 2.2 / -sin(angle)
        if distance is None and 0.5 + 1.8 / np.tan(angle) < 6:
            distance = 1.8 / sin(angle)
        if distance is None:  # through the opening, to the wall at x = 10
            distance = 9.5 / cos(angle)
        assert readings[0, index].item() == pytest.approx(max(0, 10 - distance) / 10, abs=1e-12), index
    # From the goal's row, heading along -x: the two middle rays meet the goal at x = 2.
    readings = swimmer_maze.readings(swimmer_at(swimmer_maze, 6, 8, pi))[0]
    for index in (9, 10):
        assert readings[1, index].item() == pytest.approx((10 - 4 / cos(pi / 40)) / 10)
        assert readings[0, index] == 0


def test_readings_of_walls_against_mj_ray(swimmer_maze):
    """Free places, all headings; the goal's cell stops a ray too, so only readings of walls are compared."""
    mj_model = swimmer_maze.mj_model
    data = mujoco.MjData(mj_model)
    rng = np.random.default_rng(0)
    free = rng.permutation(
        [*rng.uniform([-1.9, -1.9], [9.9, 1.9], (20, 2)), *rng.uniform([6.1, 2], [9.9, 9.9], (20, 2))]
    )
    angles = rng.uniform(-pi, pi, 40)
    qpos = torch.tensor(np.column_stack([free, angles, np.zeros((40, 2))]))
    state = swimmer_maze.state_at(qpos, torch.zeros_like(qpos))
    walls, goals = swimmer_maze.readings(state).unbind(1)
    mujoco.mj_forward(mj_model, data)
    robots = [geom for geom in range(mj_model.ngeom) if mj_model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_BOX]
    mj_model.geom_rgba[robots, 3] = 0  # rays ignore what is not visible
    compared, geom = 0, np.zeros(1, np.int32)
    for world in range(40):
        for index in range(20):
            if goals[world, index] > 0:
                continue
            angle = angles[world] - pi / 2 + (index + 0.5) * pi / 20
            start, ray = np.array([*free[world], 0.5]), np.array([cos(angle), sin(angle), 0.0])
            distance = mujoco.mj_ray(mj_model, data, start, ray, None, 1, -1, geom)
            if distance > 10 and walls[world, index] == 0:
                continue
            compared += 1
            assert walls[world, index].item() == pytest.approx((10 - distance) / 10, abs=1e-9)
    assert compared > 500


def test_the_goal(swimmer_maze):
    state = swimmer_at(swimmer_maze, 0, 8, 0.0)
    action = torch.zeros(40, 2, dtype=torch.float64)
    for x, y, inside in ((1.99, 8, True), (2.01, 8, False), (-1.9, 9.9, True), (0, 5.9, False), (0, 10.1, False)):
        reached = swimmer_at(swimmer_maze, x, y, 0.0)
        assert (swimmer_maze.terminal(reached) == inside).all()
        assert (swimmer_maze.reward(state, action, reached) == float(inside)).all()


def test_ray_gradients_against_differences():
    edges = torch.tensor([[[2.0, -3.0], [0.5, 6.0]], [[-4.0, 2.0], [9.0, 0.1]]], dtype=torch.float64)
    origin = torch.tensor([[0.1, -0.2]], dtype=torch.float64, requires_grad=True)
    angle = torch.tensor([[0.1, 1.2, 2.0]], dtype=torch.float64, requires_grad=True)
    assert (maze.ray_distance(origin, angle, edges) < 10).all()
    assert torch.autograd.gradcheck(lambda o, a: maze.ray_distance(o, a, edges), (origin, angle))
