"""Lanes on the CPU, to test what CUDA does with the lanes of a world.

Each lane is a thread that launches the kernel on its own. They run one after the other: from `sync` to `sync`, in an
order that is shuffled at each. So a lane that reads what another has not written yet, or that overwrites what another
still has to read, gives wrong results in some order. All lanes must come to the same number of syncs.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import threading
from collections.abc import Callable
from functools import cache

from diffsim.physics.lanes import STATE

_MAP_FIXED_NOREPLACE = 0x100000


class LaneError(RuntimeError):
    """The lanes of a world did not come to the same syncs."""


class _State(ctypes.Structure):
    """What kernels read at `lanes.STATE`."""

    _fields_ = [("lane", ctypes.c_int32), ("lanes", ctypes.c_int32), ("sync", ctypes.c_uint64)]


class LaneEmulation:
    """Runs launches with several lanes. There is one instance, because kernels find its state at a fixed address.

    Args:
        seed: of the order of the lanes.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._state = _State.from_address(_map_state())
        self._callback = ctypes.CFUNCTYPE(None)(self._sync)
        self._state.sync = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self._turns: list[threading.Semaphore] = []
        self._order: list[int] = []
        self._position = 0
        self._syncs: list[int] = []
        self._finished: set[int] = set()

    def run(self, launch: Callable[[], None], lanes: int) -> None:
        """Runs a launch with some number of lanes, a power of two.

        Raises:
            LaneError: a lane came to more syncs than another.
        """
        self._state.lanes = lanes
        self._turns = [threading.Semaphore(0) for _ in range(lanes)]
        self._order = self._random.sample(range(lanes), lanes)
        self._position, self._syncs, self._finished = 0, [0] * lanes, set()
        errors: list[BaseException] = []
        threads = [threading.Thread(target=self._run_lane, args=(launch, lane, errors)) for lane in range(lanes)]
        for thread in threads:
            thread.start()
        self._turns[self._order[0]].release()
        for thread in threads:
            thread.join()
        self._state.lane, self._state.lanes = 0, 1
        if errors:
            raise errors[0]
        if len(set(self._syncs)) > 1:
            raise LaneError(f"the lanes of a world came to different numbers of syncs: {sorted(set(self._syncs))}")

    def _run_lane(self, launch: Callable[[], None], lane: int, errors: list[BaseException]) -> None:
        """A lane's thread."""
        self._turns[lane].acquire()
        self._state.lane = lane
        try:
            launch()
        except BaseException as error:  # noqa: BLE001  (raised by `run`)
            errors.append(error)
        self._finished.add(lane)
        self._pass_on()

    def _sync(self) -> None:
        """Called by kernels: lets the other lanes come here."""
        lane = self._state.lane
        self._syncs[lane] += 1
        self._pass_on()
        self._turns[lane].acquire()
        self._state.lane = lane

    def _pass_on(self) -> None:
        """Gives the turn to the next lane; after the last, starts again in another order."""
        while len(self._finished) < len(self._order):
            self._position += 1
            if self._position == len(self._order):
                self._random.shuffle(self._order)
                self._position = 0
            lane = self._order[self._position]
            if lane not in self._finished:
                self._turns[lane].release()
                return


@cache
def emulation() -> LaneEmulation:
    """The process's instance."""
    return LaneEmulation()


def _map_state() -> int:
    """Maps memory at `STATE`; returns its address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED_NOREPLACE
    address = libc.mmap(STATE, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address != STATE:
        raise LaneError(f"cannot map memory at {STATE:#x} for the emulation of lanes")
    return STATE
