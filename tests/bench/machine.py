"""What the kernel says: cores, processor time, memory. Linux only; everything comes from /proc."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import psutil

TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds in one unit of /proc/PID/stat. The sum of utime and stime is exact to this, whatever their split."""


class Cores(NamedTuple):
    """Which core carries what: the proxy under test with its whole stack, and load generator with backend."""

    proxy: int
    load: int


def choose_cores() -> Cores | None:
    """Two cores to pin to, None when there are not two. Core 0 takes most interrupts, so the proxy gets the last."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(proxy=allowed[-1], load=allowed[0]) if len(allowed) > 1 else None


def tree(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes and all their descendants."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            for process in (top, *top.children(recursive=True)):
                found[process.pid] = process
    return list(found.values())


def pin(pids: Iterable[int], core: int) -> None:
    """Bind processes, their descendants and all their threads to a core."""
    for process in tree(pids):
        for thread in pathlib.Path(f"/proc/{process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), {core})


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time spent so far by exactly these processes, user and system, without descendants."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * TICK


def rss_mib(pids: Iterable[int]) -> float:
    """Resident memory in MiB, shared pages counted once per process."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_rss_mib(pid: int) -> float:
    """The highest resident memory since `reset_peak`, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def reset_peak(pid: int) -> None:
    """Forget the highest resident memory (proc(5), clear_refs)."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def core_busy_seconds(core: int) -> float:
    """Seconds for which a core was busy since boot, time that the hypervisor took away included."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) * TICK
    return 0.0


def describe(cores: Cores) -> dict[str, str | int]:
    """The machine, for the head of a table."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "proxy_core": cores.proxy,
        "load_core": cores.load,
    }


def pids_of(processes: Sequence[psutil.Process]) -> list[int]:
    """Their ids."""
    return [process.pid for process in processes]
