"""`benchmarks.gpu` on the CPU, with small sizes: the same code as on a GPU."""

import json

import numpy as np
import pytest
import warp as wp

from benchmarks import gpu, gpu_parts
from benchmarks.command import RESULTS
from benchmarks.gpu_cases import ROBOTS, Case, Skip, Worlds, find_cases, make_reference, read_reference, visited
from benchmarks.gpu_parts import Setup, same, shac, size
from benchmarks.gpu_report import Clock, Report

TASK, OTHER = "InvertedPendulum-v5", "Reacher-v5"
ROBOT = """
<mujoco>
  <option timestep=".004"/>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body pos="0 0 .1"><freejoint/><geom size=".1"/>
      <body pos=".2 0 0"><joint name="hinge"/><geom size=".1"/></body>
    </body>
  </worldbody>
  <actuator><motor joint="hinge" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


@pytest.fixture
def cases(tmp_path, monkeypatch):
    """Two tasks, a small model in the file of a robot, and a robot that is not found."""
    file = tmp_path / "models" / "deep" / f"{ROBOTS[0]}.xml"
    file.parent.mkdir(parents=True)
    file.write_text(ROBOT)
    found = {name: case for name, case in find_cases(tmp_path / "models").items() if name in (TASK, OTHER, *ROBOTS[:2])}
    monkeypatch.setattr(gpu, "find_cases", lambda robots: found)
    monkeypatch.setattr(gpu_parts, "SPEED", (TASK, ROBOTS[0]))
    return found


def check(folder, *arguments: object) -> dict:
    """The results of a check; those of one that fails, too."""
    try:
        gpu.main(["--check", "--device", "cpu", "--output", str(folder), "--worlds", "4", *map(str, arguments)])
        status = 0
    except SystemExit as error:
        status = error.code
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text()) | {"status": status}


def test_check(cases, tmp_path, capsys):
    gpu.main(["--reference", "--output", str(tmp_path)])
    assert f"{ROBOTS[1]} skipped: there is no {ROBOTS[1]}.xml" in capsys.readouterr().out
    found = check(tmp_path, "--seconds", 60, "--env-steps", 256)
    assert found["status"] == 0 and not found["failed"]
    parity = {row["case"]: row for row in found["parts"]["parity"]}
    assert list(parity) == [TASK, OTHER, ROBOTS[0]]
    assert all(value == 0 for row in parity.values() for key, value in row.items() if key not in ("case", "seconds"))
    assert {"observation", "reward", "action gradient"} < parity[TASK].keys()
    for part in ("repeatability", "graphs"):
        assert all(value for row in found["parts"][part] for value in row.values())
    for row in found["parts"]["speed"]:
        steps = {TASK: 2, ROBOTS[0]: 5}[row["case"]]  # 20 ms of the robot
        assert row["forward, mj_steps/s"] == pytest.approx(steps * row["forward, env steps/s"])
        assert row["forward, env steps/s"] == pytest.approx(1e3 * row["worlds"] / row["forward, ms"])
    assert [point[0] for point in found["curve"]] == [0, 256]
    assert any(f"{ROBOTS[1]} (there is no" in line for line in found["skipped"])
    (page,) = tmp_path.glob("*.md")
    assert "All checks that ran hold." in page.read_text() and len(list(tmp_path.glob("*.png"))) == 1


def test_wrong_values_fail(cases, tmp_path):
    gpu.main(["--reference", "--output", str(tmp_path)])
    with np.load(tmp_path / "reference.npz") as file:
        arrays = dict(file)
    arrays[f"{TASK}/action gradient"] *= 1.001
    arrays[f"{OTHER}/digest"] = np.zeros(32, np.uint8)
    np.savez(tmp_path / "reference.npz", allow_pickle=False, **arrays)
    found = check(tmp_path, "--parts", "parity")
    assert found["status"] == 1
    (line,) = found["failed"]
    assert line.startswith(f"parity: {TASK}: action gradient 1.0e-03 > ")
    assert any("its file is not the one of reference.npz" in line for line in found["skipped"])
    (page,) = tmp_path.glob("*.md")
    assert line in page.read_text()


def test_time_runs_out_and_errors_are_reported(cases, tmp_path, monkeypatch):
    found = check(tmp_path, "--parts", "speed", "--seconds", 1e-6)
    assert found["skipped"] and all("no time left" in line for line in found["skipped"])

    def broken(*_: object) -> None:
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(gpu_parts, "Worlds", broken)
    found = check(tmp_path, "--parts", "graphs")
    assert found["status"] == 1
    assert len(found["failed"]) == 2 and "RuntimeError: an illegal memory access" in found["failed"][0]


def test_reference_values_of_the_repository():
    """Each task's values are those of this machine."""
    path = RESULTS / "gpu" / "reference.npz"
    assert path.stat().st_size < 1e6
    case = Case("Hopper-v5")
    expected, found = read_reference(case, path), make_reference(case)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8, atol=1e-8)
    with np.load(path) as file:
        assert {name.split("/")[0] for name in file.files} == set(find_cases(None))


def test_other_bits_and_working_memory():
    case = Case(TASK)
    worlds = Worlds(case, 3, "cpu")
    results = worlds.results(*worlds.tensors(visited(case)))
    assert same(results, {name: value.clone() for name, value in results.items()})
    changed = {name: value + (1e-16 if name == "reward" else 0) for name, value in results.items()}
    changed["state gradient"][2, 0] *= 1 + 1e-15
    assert not same(results, changed)
    scratch = worlds.simulator.launch.scratches[0]
    shared = size(scratch)
    arrays = [getattr(scratch, name) for name in gpu_parts.FIELDS]
    arrays += [getattr(scratch.rare.members, name) for name in gpu_parts.RARE_FIELDS]
    per_world = sum(array.size * wp.types.type_size_in_bytes(array.dtype) for array in arrays)
    assert 0 < shared and per_world == 3 * shared


def test_windows_of_other_tasks(tmp_path):
    report = Report(tmp_path, "", "cpu", {})
    setup = Setup("cpu", [4], {TASK: Skip("no")}, tmp_path, 1, report, Clock(1.0))
    algorithm = shac(setup, "--task=Hopper-v5", "--horizon=8", "--num_envs=64", "--cuda_graph=true")
    assert algorithm.mdp.num_envs == 64 and algorithm.termination_bounds is None
    with pytest.raises(Skip, match="no"):
        setup.case(TASK)


def test_prepare_fills_a_cache_for_warp(cases, tmp_path, monkeypatch, capsys):
    def compile_modules(needed, arch, folder, **_: object) -> None:
        assert arch == 80 and folder == tmp_path / "kernels" / wp.config.version
        names = {module.name.removeprefix("diffsim.stages.") for module in needed}
        assert {"rows", "solve", "gather", "collide.plane_sphere", "collide_gradient.plane_sphere"} < names
        for ending in ("cu", "sm80.cubin", "meta"):
            file = folder / "module" / f"module.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")

    monkeypatch.setattr(gpu, "compile_modules", compile_modules)
    gpu.main(["--prepare", str(tmp_path / "kernels"), "--arch", "80", "--output", str(tmp_path)])
    assert sorted(path.suffix for path in (tmp_path / "kernels").rglob("module.*")) == [".cubin", ".meta"]
    assert "modules for sm_80 are in" in capsys.readouterr().out
