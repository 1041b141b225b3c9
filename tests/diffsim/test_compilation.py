"""Compilation for CUDA ahead of time: Warp finds the modules, and compiles nothing again."""

import ctypes
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import warp as wp
from warp._src import build, context

from diffsim.engine import compilation
from diffsim.engine.compilation import Module, cache_folder, compile_modules, find_module, is_compiled
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.collide import detection_kernel

ARCH = 90
MODULES = [Module(detection_kernel(0, 2).module.name, 256), Module("diffsim.physics.tangent", 64)]


class Loaded(Exception):  # noqa: N818
    """Raised where Warp loads a module's code."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel cache that another process has filled."""
    wp.init()  # sets this process's cache
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wp.config, "kernel_cache_dir", str(tmp_path_factory.mktemp("cache")))
        compile_modules(MODULES, ARCH, processes=1)  # in a process of its own
        return cache_folder()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> context.Device:
    """A CUDA device whose driver is newer than Warp's toolkit: Warp then prefers PTX. It cannot load code."""
    found = object.__new__(context.Device)
    versions = SimpleNamespace(driver_version=(99, 0), toolkit_version=(12, 9), get_device=lambda device: device)
    found.__dict__ |= {"runtime": versions, "arch": ARCH, "alias": "cuda:0", "_context": 1, "ordinal": 0}
    found.__dict__ |= {"is_cubin_supported": True, "is_primary": True, "name": "none"}

    def load(path: str, device: context.Device) -> None:
        raise Loaded(path)

    def compile_again(*args: object) -> None:
        raise AssertionError("Warp compiles the module again")

    monkeypatch.setattr(build, "load_cuda", load)
    monkeypatch.setattr(context.Module, "_run_codegen", compile_again)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_warp_loads_what_was_compiled(cache, device, monkeypatch, module):
    monkeypatch.setattr(wp.config, "kernel_cache_dir", str(cache))
    assert is_compiled(module, ARCH)
    with pytest.raises(Loaded, match=r"\.sm90\.cubin$") as loaded:
        find_module(module.name).load(device, module.block_dim)
    assert Path(str(loaded.value)).parents[1] == cache


def test_a_module_that_was_not_compiled(cache, device, monkeypatch):
    monkeypatch.setattr(wp.config, "kernel_cache_dir", str(cache))
    module = MODULES[0]._replace(block_dim=32)
    assert not is_compiled(module, ARCH)
    with pytest.raises(AssertionError, match="compiles the module again"):
        find_module(module.name).load(device, module.block_dim)


def running(pid: int) -> bool:
    """Whether a process exists that has not ended."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_compiles_ends_when_its_parent_is_killed(tmp_path):
    script = f"""
from pathlib import Path
from diffsim.engine.compilation import Module, _Worker
worker = _Worker({ARCH}, Path({str(tmp_path)!r}))
worker.process.stdin.write("diffsim.stages.convex 64\\n")  # half a minute
worker.process.stdin.flush()
print(worker.process.pid, flush=True)
worker.process.wait()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        while not list(tmp_path.iterdir()):  # it has begun
            assert running(worker)
            time.sleep(0.2)
        parent.kill()
    deadline = time.monotonic() + 10
    while running(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not running(worker)


def test_a_folder_of_its_own(tmp_path):
    module, lines = MODULES[0], []
    before = wp.get_module(module.name).options["block_dim"]
    assert not is_compiled(module, ARCH, tmp_path)
    assert compile_modules([module], ARCH, tmp_path, processes=1, report=lines.append)
    assert is_compiled(module, ARCH, tmp_path)
    assert "1 modules for sm_90" in lines[0]
    assert "[1/1] collide.plane_sphere" in lines[1]
    assert compile_modules([module], ARCH, tmp_path, report=lines.append) == []
    assert wp.get_module(module.name).options["block_dim"] == before


def test_a_process_waits_for_another_that_compiles_the_same_modules(tmp_path, monkeypatch, capsys):
    """It then finds them in the cache, and loads them."""
    done, calls = [], []
    monkeypatch.setattr(compilation, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(compilation, "_is_compiled_for_cpu", lambda module: bool(done))
    monkeypatch.setattr(compilation, "find_module", lambda name: SimpleNamespace(execs={}, name=name))
    monkeypatch.setattr(wp, "force_load", lambda device, modules, max_workers: calls.append((len(modules), bool(done))))

    def other() -> None:
        with compilation._lock():
            started.set()
            time.sleep(0.05)
            done.append(True)

    started = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    started.wait()
    compilation.load_stages(MODULES)
    thread.join()
    assert calls == [(2, True)] and "compiling" not in capsys.readouterr().err
    done.clear()
    compilation.load_stages(MODULES)
    assert calls[1:] == [(2, False), (2, False)] and "compiling 2 modules" in capsys.readouterr().err


@pytest.mark.parametrize("struct", [ModelArrays, Scratch])
def test_structs_are_small_enough_for_registers(struct):
    """NVRTC copies a struct of more bytes to local memory at each call: a stage then compiles 40 times as long."""
    assert ctypes.sizeof(struct.ctype) <= 8192


def test_the_name_of_a_module_is_the_same_before_and_after_its_code_is_generated():
    """Otherwise Warp does not find what another process compiled. A variable named as a constant of Warp does that."""
    module = find_module("diffsim.stages.lines_gradient")
    before = module.get_module_identifier(64)
    context.ModuleBuilder(module, module.options | {"block_dim": 64, "output_arch": ARCH})
    module.mark_modified()
    assert module.get_module_identifier(64) == before
