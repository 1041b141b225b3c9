"""`diffsim compile`: what it compiles, and its errors."""

from pathlib import Path

import pytest
from rich.console import Console

from diffsim.trainers.cli import main
from diffsim.trainers.run import compile_command as command

MODEL = '<mujoco><worldbody><body><freejoint/><geom size="1"/></body></worldbody></mujoco>'


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Calls of the compiler, which is left out: `tests/diffsim/test_lanes.py` runs it."""
    found = []

    def compile_modules(modules: list, arch: int, folder: Path | None, processes: int | None, report: object) -> list:
        found.append(({module.name.rpartition(".")[2] for module in modules}, arch, folder, processes))
        return []

    monkeypatch.setattr(command, "compile_modules", compile_modules)
    return found


def test_a_task(calls, capsys):
    command.compile_command(["Hopper-v5", "--arch", "90"], Console())
    ((names, arch, folder, processes),) = calls
    assert {"solve", "elements", "plane_capsule"} <= names
    assert (arch, folder, processes) == (90, None, None)
    assert "are compiled for sm_90" in capsys.readouterr().out


def test_a_model_for_two_gpus(calls, tmp_path):
    file = tmp_path / "model.xml"
    file.write_text(MODEL)
    options = ["--arch", "[80, 100]", "--output", str(tmp_path), "--processes", "3", "--forward_only", "true"]
    command.compile_command([str(file), *options], Console())
    assert [call[1:] for call in calls] == [(80, tmp_path, 3), (100, tmp_path, 3)]
    assert not {"elements", "plane_capsule"} & calls[0][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["Hopper-v5"], "arch must be given where there is no GPU"),
        (["Hoper-v5", "--arch", "90"], "did you mean Hopper-v5?"),
        (["Hopper-v5", "--arch", "60"], "arch must be at least 70"),
        (["Hopper-v5", "--arch", "90", "--processes", "-1"], "processes must be >= 0, got -1"),
        ([], "--model is required"),
    ],
)
def test_errors(options, words, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["compile", *options]) == 2
    assert words in capsys.readouterr().err
