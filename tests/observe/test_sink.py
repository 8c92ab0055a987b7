"""A destination that is slow, full or gone never stops or stalls the program, and what is lost is counted."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.observe.sink import ATOMIC, FLUSH_AT, Sink


class PipeSink(Sink):
    """A sink whose destination is a pipe, as stdout is in a container."""

    def __init__(self, writer: int, limit: int) -> None:
        self._writer = writer
        super().__init__("a pipe", limit)

    def _open(self) -> None:
        self._owned, self._fd, self._is_file = True, self._writer, False


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 65_536)
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def drain(reader: int) -> bytes:
    data = b""
    while select.select([reader], [], [], 0)[0] and (piece := os.read(reader, 1 << 20)):
        data += piece
    return data


def test_file_gets_lines_in_order_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "log"
    sink = Sink(str(path))
    sink.append(b"one\n")
    sink.append(b"two\n")
    assert path.read_bytes() == b""
    sink.flush()
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_batch_is_written_without_a_tick(tmp_path):
    sink = Sink(str(tmp_path / "log"))
    sink.append(b"x" * FLUSH_AT + b"\n")
    assert (tmp_path / "log").stat().st_size == FLUSH_AT + 1


def test_missing_folder_is_an_error_at_start(tmp_path):
    with pytest.raises(FileNotFoundError):
        Sink(str(tmp_path / "none" / "log"))


def test_pipe_that_nobody_reads_fills_the_buffer_and_then_drops(pipe):
    reader, writer = pipe
    sink = PipeSink(writer, limit=100_000)
    lines = [b"%06d %s\n" % (number, b"x" * 92) for number in range(3_000)]
    for line in lines:
        sink.append(line)
        sink.flush()
    assert sink.dropped > 0
    kept = b""
    while piece := drain(reader):
        kept += piece
        sink.flush()
    assert kept.endswith(b"\n")
    assert kept.count(b"\n") + sink.dropped == len(lines)
    assert kept == b"".join(lines[: kept.count(b"\n")])


def test_writes_to_a_pipe_hold_whole_lines_that_do_not_mix(pipe):
    reader, writer = pipe
    sink = PipeSink(writer, limit=100_000)
    line = b"y" * 999 + b"\n"
    for _ in range(10):
        sink.append(line)
    assert len(sink._piece()) == ATOMIC // 1000 * 1000
    sink.flush()
    assert drain(reader) == line * 10


def test_line_longer_than_a_pipe_takes_at_once_arrives_whole(pipe):
    reader, writer = pipe
    sink = PipeSink(writer, limit=1_000_000)
    line = b"z" * 200_000 + b"\n"
    sink.append(line)
    data = b""
    while piece := drain(reader):
        data += piece
        sink.flush()
    assert data == line


def test_closed_pipe_is_survived_and_counted_at_the_end(pipe):
    reader, writer = pipe
    os.close(reader)
    sink = PipeSink(writer, limit=1000)
    for _ in range(20):
        sink.append(b"x" * 99 + b"\n")
        sink.flush()
    assert sink.dropped == 10
    sink.close()
    assert sink.dropped == 20


def test_full_disk_is_survived_and_counted():
    sink = Sink("/dev/full", limit=1000)
    for _ in range(20):
        sink.append(b"x" * 99 + b"\n")
        sink.flush()
    assert sink.dropped == 10
    sink.close()
    assert sink.dropped == 20


def test_close_waits_for_a_slow_reader_but_not_for_ever(pipe):
    reader, writer = pipe
    sink = PipeSink(writer, limit=1_000_000)
    sink.append(b"x" * 499_999 + b"\n")
    got: list[bytes] = []

    def read() -> None:
        while piece := os.read(reader, 4096):
            got.append(piece)

    thread = threading.Thread(target=read)
    thread.start()
    sink.close(wait=30)
    thread.join(30)
    assert sink.dropped == 0
    assert sum(map(len, got)) == 500_000


def test_close_gives_up_on_a_stuck_reader(pipe):
    _, writer = pipe
    sink = PipeSink(writer, limit=1_000_000)
    for _ in range(5_000):
        sink.append(b"x" * 99 + b"\n")
    sink.close(wait=0.01)
    assert sink.dropped > 4_000


def test_rotated_file_is_opened_again_by_its_name(tmp_path):
    path = tmp_path / "log"
    sink = Sink(str(path))
    sink.append(b"before\n")
    path.rename(tmp_path / "log.1")
    sink.reopen()
    sink.append(b"after\n")
    sink.flush()
    assert (tmp_path / "log.1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"after\n"


def test_when_the_new_file_cannot_be_opened_the_old_one_stays(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = Sink(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    sink.reopen()
    sink.append(b"still here\n")
    sink.flush()
    assert (tmp_path / "moved" / "log").read_bytes() == b"still here\n"


def test_stdout_is_not_made_non_blocking_for_others():
    program = (
        "import os; from proxy.observe.sink import Sink; s = Sink('stdout'); s.append(b'hello\\n'); s.close();"
        "assert os.get_blocking(1); os.write(1, b'still open\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=30, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == b"hello\nstill open\n"


def test_threads_lose_and_repeat_nothing(tmp_path):
    sink = Sink(str(tmp_path / "log"), limit=1 << 30)

    def work(name: int) -> None:
        for number in range(2_000):
            sink.append(b"%d:%d\n" % (name, number))
            sink.flush()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 8_000
