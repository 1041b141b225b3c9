"""The simulator on every device: the same tests on the CPU, and where there is a GPU on that.

`pytest -m gpu` runs those of the GPU. `tests/diffsim/test_lanes.py` has what can be shown of its kernels without one.
"""

from collections.abc import Callable

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.engine.checks import NonFiniteArgumentError, deferred_checks

from .contact_reference import derivative, load_task, visited_states
from .engine import tangent_jacobian, tensors
from .reference import Stepper, load, parts_error, relative_error
from .test_deferred_checks import BALLS, SLIDER, forces

GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)
on_every_device = pytest.mark.parametrize("device", ["cpu", GPU])
NAMES = {
    "cpu": ("contact_weld", "fluid_chain"),
    "cuda:0": (
        *("contact_weld", "fluid_chain", "contact_stack", "contact_boxes", "contact_tendon", "contact_friction_loss"),
        *("contact_joint_equality", "contact_ball_limit", "contact_capsules", "actuators", "free_body"),
        *("Hopper-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5"),
    ),
}
"""Models with every feature on a GPU; a few on the CPU, which other files test."""
every_model = pytest.mark.parametrize(
    ("device", "name"),
    [
        pytest.param(device, name, marks=[pytest.mark.gpu] * (device != "cpu"))
        for device, names in NAMES.items()
        for name in names
    ],
)
STEPS, WORLDS = 2, 12


def load_any(name: str) -> mujoco.MjModel:
    """A test model, or that of a task."""
    return load_task(name)[0] if name.endswith("-v5") else load(name)


def make(mj_model: mujoco.MjModel, num_worlds: int, device: str) -> diffsim.Simulator:
    return diffsim.Simulator(diffsim.Model(mj_model), num_worlds, device=device)


def inputs(mj_model: mujoco.MjModel, device: str, worlds: int = WORLDS) -> list[torch.Tensor]:
    """Visited states and controls."""
    return [value.to(device) for value in tensors(*visited_states(mj_model, worlds, STEPS))]


def results(sim: diffsim.Simulator, state: torch.Tensor, ctrl: torch.Tensor, **options) -> list[torch.Tensor]:
    """Next state, accelerations, forces, and gradients by state and controls."""
    leaves = [value.detach().requires_grad_() for value in (state, ctrl)]
    last, point = sim.advance(*leaves, num_steps=STEPS, **options)
    weights = torch.linspace(0.5, 1.5, last.shape[1], dtype=last.dtype, device=last.device)
    total = (last * weights).sum() + 1e-3 * point.qacc.sum() + 1e-3 * point.qfrc_constraint.sum()
    slopes = torch.autograd.grad(total, leaves)
    return [value.detach() for value in (last, point.qacc, point.qfrc_constraint, point.cfrc_ext, *slopes)]


@every_model
def test_steps_are_those_of_c_mujoco(device, name):
    mj_model = load_any(name)
    state, ctrl = visited_states(mj_model, WORLDS, STEPS)
    actual = make(mj_model, WORLDS, device).step(*(x.to(device) for x in tensors(state, ctrl)), num_steps=STEPS)
    expected = Stepper(mj_model).step_batch(state, ctrl, STEPS)
    assert parts_error(mj_model, actual.cpu().numpy(), expected) <= 1e-7


@every_model
def test_jacobians_are_differences_of_c_mujoco(device, name):
    """`linearize`, on a GPU by the adjoint of each row."""
    mj_model = load_any(name)
    reference = derivative(mj_model, 4, STEPS)
    state, ctrl = (x.to(device) for x in tensors(reference.state, reference.ctrl))
    jacobian = torch.cat(make(mj_model, len(state), device).linearize(state, ctrl, num_steps=STEPS), dim=2)
    actual, expected = jacobian.cpu().numpy()[:, None], reference.jacobian[:, None]
    errors = [relative_error(*pair) for pair in zip(actual, expected, strict=True)]
    assert np.median(errors) <= 1e-6, errors


@every_model
def test_gradients_are_rows_of_the_jacobian(device, name):
    mj_model = load_any(name)
    state, ctrl = inputs(mj_model, device)
    sim = make(mj_model, WORLDS, device)
    leaves = [x.clone().requires_grad_() for x in (state, ctrl)]
    last = sim.step(*leaves, num_steps=STEPS)
    rows = []
    for index in range(last.shape[1]):
        found = torch.autograd.grad(last[:, index].sum(), leaves, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat(found, dim=1).cpu().numpy())
    arrays = [x.detach().cpu().numpy() for x in (state, last)]
    actual = tangent_jacobian(mj_model, np.stack(rows, axis=1), *arrays)
    expected = torch.cat(sim.linearize(state, ctrl, num_steps=STEPS), dim=2).cpu().numpy()
    assert relative_error(actual, expected) <= 1e-9


@every_model
def test_repeated_shuffled_and_replayed_calls_give_the_same_bits(device, name):
    mj_model = load_any(name)
    state, ctrl = inputs(mj_model, device)
    sim = make(mj_model, WORLDS, device)
    first, order = results(sim, state, ctrl), torch.arange(WORLDS).flip(0)
    assert sim.launch.captured
    repeated, shuffled = results(sim, state, ctrl), results(sim, state[order], ctrl[order])
    sim.launch.captured = None
    plain = results(sim, state, ctrl)
    for value, *others in zip(first, repeated, plain, shuffled, strict=True):
        assert all(torch.equal(value, other) for other in others[:2])
        assert torch.equal(value[order], others[2])


@on_every_device
def test_parameters_are_not_captured_and_have_gradients(device):
    """The model's own masses change nothing; the gradient by them is that of central differences."""
    mj_model = load("contact_weld")
    state, ctrl = inputs(mj_model, device)
    sim = make(mj_model, WORLDS, device)
    mass = torch.tensor(mj_model.body_mass, dtype=diffsim.dtype, device=device)
    own = results(sim, state, ctrl, parameters={"body_mass": mass})
    for value, other in zip(results(sim, state, ctrl), own, strict=True):
        torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-9)

    def total(mass: torch.Tensor) -> torch.Tensor:
        return sim.step(state, ctrl, STEPS, parameters={"body_mass": mass}).sum()

    direction, size = torch.linspace(0.5, 1.0, len(mass), dtype=mass.dtype, device=device) * mass, 1e-6
    (slope,) = torch.autograd.grad(total(leaf := mass.clone().requires_grad_()), leaf)
    ends = [total(mass + sign * size * direction) for sign in (1, -1)]
    assert float(slope @ direction) == pytest.approx(float(ends[0] - ends[1]) / (2 * size), rel=1e-4)


def faults(device: str) -> list[tuple[Callable[[], object], type[Exception], str]]:
    """Calls with a fault in world 1, with the errors."""
    slider = make(mujoco.MjModel.from_xml_string(SLIDER), 3, device)
    rest = torch.zeros(3, 2, dtype=diffsim.dtype, device=device)
    mj_model = mujoco.MjModel.from_xml_string(BALLS)
    balls = diffsim.Simulator(diffsim.Model(mj_model, max_contacts=1), 2, device=device)
    fallen = np.tile(np.concatenate([mj_model.qpos0, np.zeros(12)]), (2, 1))
    fallen[1, [2, 9]] = 0.099
    on_floor, no_ctrl = (x.to(device) for x in tensors(fallen, np.zeros((2, 0))))
    return [
        (lambda: balls.step(on_floor, no_ctrl), diffsim.ContactOverflowError, "2 contacts.*max_contacts=2"),
        (lambda: slider.step(rest, forces(3e10).to(device)), ValueError, "ctrl must be at most .* world 1"),
        (lambda: slider.step(rest, forces(9e9).to(device), 3), FloatingPointError, "diverged: qpos .* in world 1"),
        (lambda: slider.step(rest, forces(np.nan).to(device)), NonFiniteArgumentError, "ctrl must be finite.*world 1"),
    ]


@on_every_device
@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("fault", range(4), ids=["overflow", "bounds", "divergence", "nan"])
def test_errors_name_the_world(device, fault, deferred):
    call, kind, words = faults(device)[fault]
    with pytest.raises(kind, match=words):
        if deferred:
            with deferred_checks():
                call()
        else:
            call()


@pytest.mark.gpu
def test_two_devices():
    """Both give the same bits, in turns, whichever is the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    mj_model = load_task("Hopper-v5")[0]
    simulators = {device: make(mj_model, WORLDS, device) for device in ("cuda:0", "cuda:1")}
    found = []
    for current in (0, 1):
        with torch.cuda.device(current):
            for device, sim in simulators.items():
                found.append([value.cpu() for value in results(sim, *inputs(mj_model, device))])
    for other in found[1:]:
        assert all(torch.equal(value, second) for value, second in zip(found[0], other, strict=True))


@pytest.mark.gpu
def test_torch_captures_a_step():
    """A step within a CUDA graph of torch, as `cuda_graph` of SHAC captures it, on other inputs."""
    mj_model = load_task("Hopper-v5")[0]
    sim = make(mj_model, WORLDS, "cuda:0")
    state, ctrl = inputs(mj_model, "cuda:0")
    memory = [torch.zeros_like(state) + state[0], torch.zeros_like(ctrl)]
    expected = sim.step(state, ctrl, STEPS)
    sim.step(*memory, STEPS)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with deferred_checks() as checks:
        with torch.cuda.graph(graph):
            last = sim.step(*memory, STEPS)
            checks.any_failed()
    for place, value in zip(memory, (state, ctrl), strict=True):
        place.copy_(value)
    graph.replay()
    assert torch.equal(last, expected)
