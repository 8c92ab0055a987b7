"""The parts, the faults, and which of them make no sense together, with the reason."""

from __future__ import annotations

from typing import Final

PARTS: Final = ("source primary", "source replica", "store", "backend", "network", "disk", "clock", "worker")
FAULTS: Final = (
    "killed", "hung", "slow", "reset", "half-open", "full disk", "read-only disk", "wrong answer", "jump of an hour",
    "jump back an hour", "out of descriptors",
)  # fmt: skip

NONSENSE: Final[dict[tuple[str, str], str]] = {
    ("source primary", "full disk"): "it is only read; a server that stops for it is `killed`",
    ("source primary", "read-only disk"): "it is only read",
    ("source replica", "full disk"): "it is only read; its lag is in tests/sources/test_failover.py",
    ("source replica", "read-only disk"): "it is always read-only",
    ("source replica", "jump of an hour"): "nothing rests on its clock: refusals rest on the primary",
    ("source replica", "jump back an hour"): "nothing rests on its clock",
    ("source replica", "out of descriptors"): "the same role and the same answer as of the primary",
    ("store", "jump of an hour"): "its clock only ages keys that live for 90 days",
    ("store", "jump back an hour"): "its clock only ages keys that live for 90 days",
    ("backend", "full disk"): "it answers 500 or 507, which is passed on",
    ("backend", "read-only disk"): "it answers 500, which is passed on",
    ("backend", "jump of an hour"): "nothing here reads its clock",
    ("backend", "jump back an hour"): "nothing here reads its clock",
    ("network", "killed"): "is `reset`",
    ("network", "hung"): "is `half-open`",
    ("network", "full disk"): "has none",
    ("network", "read-only disk"): "has none",
    ("network", "jump of an hour"): "has no clock",
    ("network", "jump back an hour"): "has no clock",
    ("network", "out of descriptors"): "is `worker`, `out of descriptors`",
    ("disk", "killed"): "a disk that is gone answers EIO: the same road as `read-only disk`",
    ("disk", "hung"): "a write(2) that never returns hangs the process: `worker`, `hung`",
    ("disk", "reset"): "is no connection",
    ("disk", "half-open"): "is no connection",
    ("disk", "wrong answer"): "damaged lines: tests/evidence/test_spool.py",
    ("disk", "jump of an hour"): "has no clock",
    ("disk", "jump back an hour"): "has no clock",
    ("disk", "out of descriptors"): "is `worker`, `out of descriptors`",
    ("clock", "killed"): "cannot be",
    ("clock", "hung"): "a clock that stands still is one that jumps back all the time",
    ("clock", "slow"): "is a small jump, again and again",
    ("clock", "reset"): "is no connection",
    ("clock", "half-open"): "is no connection",
    ("clock", "full disk"): "has none",
    ("clock", "read-only disk"): "has none",
    ("clock", "wrong answer"): "is `jump of an hour`",
    ("clock", "out of descriptors"): "has none",
    ("worker", "slow"): "every cell is run on a busy machine",
    ("worker", "reset"): "is `network`, `reset`",
    ("worker", "half-open"): "is `network`, `half-open`",
    ("worker", "full disk"): "is `disk`, `full disk`",
    ("worker", "read-only disk"): "is `disk`, `read-only disk`",
    ("worker", "wrong answer"): "what the other suites are about",
    ("worker", "jump of an hour"): "is `clock`",
    ("worker", "jump back an hour"): "is `clock`",
}
