"""The spool loses nothing that it has taken, and says so when it cannot take something."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.evidence import history, leftovers, oauth_ledger, records, segment, silence, unshipped
from proxy.evidence.spool import LOCK, RESERVE, RESERVE_BYTES, Spool, SpoolError, SpoolFull
from proxy.evidence.tail import Tail, segments
from proxy.evidence.witness import Witness
from tests.evidence.conftest import START, make_incident

MIB = 1 << 20


def open_spool(root, segment_bytes=MIB, total_bytes=16 * MIB, **more):
    return Spool(root, segment_bytes, total_bytes, "one", **more)


def read_all(tail, at_once=100):
    found = []
    while lines := tail.read(at_once):
        found += lines
    return found


@given(st.lists(st.binary(max_size=200).filter(lambda b: b"\n" not in b), max_size=20), st.binary(max_size=50))
def test_what_is_encoded_is_decoded_and_a_torn_end_is_no_line(recorded, torn):
    previous, block = segment.GENESIS, b""
    for number, record in enumerate(recorded, 1):
        line, previous = segment.encode(number, previous, record)
        block += line
    read = [line for line in segment.scan(block + torn.replace(b"\n", b""), 0) if line is not None]
    assert recorded == [line.record for line in read]
    assert all(later.previous == earlier.digest for earlier, later in itertools.pairwise(read))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_none_and_never_an_exception(raw):
    list(segment.scan(raw, 0))


@pytest.mark.parametrize(
    "rest",
    [b"007 " + b"0" * 64 + b" x", b"0 " + b"0" * 64 + b" x", b"1 " + b"\xff" * 64 + b" x", b"1 " + b"A" * 64 + b" x",
     b"1" * 5_000 + b" " + b"0" * 64 + b" x"],
)  # fmt: skip
def test_a_line_that_encode_would_write_otherwise_is_damaged_whatever_its_checksum(rest):
    assert segment.decode(b"%08x %b" % (zlib.crc32(rest), rest)) is None


@pytest.mark.parametrize("body", [b'{"incident":"\xff"}', b'{"x":' + b"[" * 200_000, b"{}", b'{"kind":"%b"}' % (b"x" * 9_000)])
@pytest.mark.parametrize("kind", [b"incident", b"note"])
def test_octets_that_are_no_record_are_told_briefly(kind, body):
    with pytest.raises(records.RecordError) as caught:
        records.unpack(kind + b" " + body)
    assert len(str(caught.value)) < 300


def test_what_is_damaged_in_the_store_is_left_out_whatever_its_octets():
    for octets in (b'{"fingerprint":"\xff"}', b"[" * 200_000):
        assert history.read_part(octets) is None
        assert silence.read_mark(octets) is None
        assert [] == oauth_ledger._read([octets])


def test_a_record_with_a_newline_is_refused(spool_root):
    with pytest.raises(ValueError, match="one line"):
        open_spool(spool_root).append(b"two\nlines")


def test_files_are_private(spool_root):
    spool = open_spool(spool_root)
    spool.append(b"one")
    assert spool.path.stat().st_mode & 0o777 == 0o700
    assert {0o600} == {path.stat().st_mode & 0o777 for path in spool.path.iterdir()}


def test_segments_rotate_and_are_removed_when_acknowledged(spool_root):
    spool = open_spool(spool_root, segment_bytes=1000, total_bytes=100_000)
    tail = Tail(spool.path, living=True, released=spool.release)
    recorded = [b"%d " % n + b"x" * 100 for n in range(50)]
    for record in recorded:
        spool.append(record)
    assert len(segments(spool.path)) >= 8
    assert recorded == [line.record for line in read_all(tail, 7)]
    held = spool.held
    tail.acknowledge()
    assert len(segments(spool.path)) == 1
    assert spool.held == leftovers.octets(spool.path) < held


def test_a_restart_goes_on_behind_what_was_acknowledged(spool_root):
    spool = open_spool(spool_root, segment_bytes=500, total_bytes=100_000)
    for n in range(20):
        spool.append(b"%d " % n + b"x" * 60)
    tail = Tail(spool.path, living=True)
    first = tail.read(7)
    tail.acknowledge()
    tail.read(5)  # delivered, not acknowledged
    assert first[-1].sequence + 1 == Tail(spool.path, living=False).read(1)[0].sequence


def test_a_damaged_position_delivers_again_rather_than_skips(spool_root):
    spool = open_spool(spool_root)
    for n in range(5):
        spool.append(b"%d" % n)
    tail = Tail(spool.path, living=True)
    tail.read(3)
    tail.acknowledge()
    (spool.path / "position").write_bytes(b"00000000 rubbish 5\n")
    assert len(Tail(spool.path, living=False).read(10)) == 5


def test_kill_9_right_after_append_loses_nothing(spool_root):
    script = (
        "import os, signal, sys, pathlib\n"
        "from proxy.evidence.spool import Spool\n"
        "spool = Spool(pathlib.Path(sys.argv[1]), 1 << 20, 1 << 24, 'dead')\n"
        "for n in range(100): spool.append(b'record %d' % n)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(spool_root)], check=False)
    assert ended.returncode == -signal.SIGKILL
    leftover = leftovers.adopt(spool_root, spool_root / "mine")
    assert leftover is not None
    assert [b"record %d" % n for n in range(100)] == [line.record for line in read_all(leftover.tail)]
    leftover.remove()
    assert list(leftovers.directories(spool_root)) == []


def test_a_torn_last_line_loses_no_earlier_one(spool_root):
    spool = open_spool(spool_root)
    spool.append(b"first")
    spool.append(b"second")
    spool.close()
    with (spool.path / segments(spool.path)[0]).open("ab") as file:
        file.write(b"deadbeef 3 half a li")
    tail = Tail(spool.path, living=False)
    assert [line.record for line in read_all(tail)] == [b"first", b"second"]
    assert tail.damaged == 1


def test_a_damaged_line_in_the_middle_is_skipped_and_counted(spool_root):
    spool = open_spool(spool_root)
    for record in (b"first", b"second", b"third"):
        spool.append(record)
    path = spool.path / segments(spool.path)[0]
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))
    tail = Tail(spool.path, living=True)
    assert [line.record for line in read_all(tail)] == [b"first", b"third"]
    assert tail.damaged == 1


def test_its_own_bound_is_an_error_and_room_is_made_by_acknowledging(spool_root):
    spool = open_spool(spool_root, segment_bytes=2_000, total_bytes=8_000)
    tail = Tail(spool.path, living=True, released=spool.release)
    taken = 0
    with pytest.raises(SpoolFull):  # noqa: PT012 - the one that fails is the question
        while True:
            spool.append(b"x" * 100)
            taken += 1
    assert taken == len(read_all(tail))
    assert leftovers.octets(spool.path) <= 8_000
    tail.acknowledge()
    spool.append(b"again")
    assert [line.record for line in read_all(tail)] == [b"again"]


def test_a_full_disk_first_spends_the_reserve_then_refuses_and_leaves_whole_lines(spool_root, monkeypatch):
    spool = open_spool(spool_root)
    spool.append(b"before")
    real, room = os.write, [30]

    def write(fd, data):
        if (spool.path / RESERVE).exists() and room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        if not (spool.path / RESERVE).exists() and room[0] <= -200:
            return real(fd, data[:10])  # a short write
        room[0] -= len(data)
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    spool.append(b"fits")
    spool.append(b"from the reserve")
    assert spool.reserve_spent
    with pytest.raises(SpoolFull):  # noqa: PT012 - the one that fails is the question
        for _ in range(10):
            spool.append(b"y" * 50)
    monkeypatch.undo()
    spool.append(b"after")
    tail = Tail(spool.path, living=True)
    found = [line.record for line in read_all(tail)]
    assert found[:3] == [b"before", b"fits", b"from the reserve"]
    assert found[-1] == b"after"
    assert tail.damaged == 0


def test_who_asks_after_a_full_disk_finds_out_that_there_is_room_again(spool_root, monkeypatch):
    spool = open_spool(spool_root)
    witness = Witness(spool)

    def full(fd, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(SpoolFull):
            spool.append(b"no room")
        assert not witness.able()
        assert not (spool.path / RESERVE).exists()
    assert witness.able()
    assert RESERVE_BYTES == (spool.path / RESERVE).stat().st_size


def test_a_real_full_disk_answers_spool_full(spool_root):
    script = (
        "import pathlib, resource, signal, sys\n"
        "from proxy.evidence.spool import Spool, SpoolFull\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "spool = Spool(pathlib.Path(sys.argv[1]), 1 << 20, 1 << 24, 'full')\n"
        "taken = 0\n"
        "try:\n"
        "    while True:\n"
        "        spool.append(b'x' * 100); taken += 1\n"
        "except SpoolFull:\n"
        "    print(taken)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(spool_root)], check=True, capture_output=True, text=True)
    leftover = leftovers.adopt(spool_root, spool_root / "mine")
    assert leftover is not None
    assert int(ended.stdout) == len(read_all(leftover.tail)) > 0
    assert leftover.tail.damaged == 0
    leftover.close()


def test_when_cutting_back_fails_a_new_segment_is_begun(spool_root, monkeypatch):
    spool = open_spool(spool_root)
    spool.append(b"before")
    real = os.write

    def short(fd, data):
        return real(fd, data[:5])

    def broken(fd, size):
        raise OSError(errno.EIO, "Input/output error")

    spool.reserve_spent = True
    monkeypatch.setattr(os, "write", short)
    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(SpoolError):
        spool.append(b"torn")
    monkeypatch.undo()
    spool.append(b"after")
    tail = Tail(spool.path, living=True)
    assert [line.record for line in read_all(tail)] == [b"before", b"after"]
    assert tail.damaged == 1


def three_segments(root):
    spool = open_spool(root, segment_bytes=300, total_bytes=100_000)
    recorded = [b"%d " % n + b"x" * 250 for n in range(3)]
    for record in recorded:
        spool.append(record)
    assert len(segments(spool.path)) == 3
    return spool, recorded


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_segment_that_cannot_be_read_for_a_while_costs_no_line_before_or_in_it(spool_root, monkeypatch, number, broken):
    spool, recorded = three_segments(spool_root)
    tail = Tail(spool.path, living=True)
    bad, real = segments(spool.path)[broken], os.open

    def refuse(path, *more):
        if str(path).endswith(bad):
            raise OSError(number, os.strerror(number))
        return real(path, *more)

    monkeypatch.setattr(os, "open", refuse)
    found = []
    for _ in range(3):
        try:
            found += tail.read(100)
        except OSError:
            pass
        else:
            tail.acknowledge()
    assert [line.record for line in found] == recorded[:broken]
    monkeypatch.undo()
    found += tail.read(100)
    assert [line.record for line in found] == recorded


def test_what_follows_a_long_hole_in_a_dead_spool_is_read(spool_root):
    spool = open_spool(spool_root)
    spool.append(b"before")
    spool.append(b"after")
    spool.close()
    segment_file = spool.path / segments(spool.path)[0]
    first, second = segment_file.read_bytes().splitlines(keepends=True)
    segment_file.write_bytes(first + bytes(5 * MIB) + b"\n" + second)
    assert [line.record for line in read_all(Tail(spool.path, living=False))] == [b"before", b"after"]


def test_a_reader_sees_the_rest_when_a_segment_is_shipped_and_removed_meanwhile(spool_root, monkeypatch):
    spool = open_spool(spool_root, segment_bytes=400, total_bytes=100_000)
    incidents = [make_incident(START + n) for n in range(3)]
    for incident in incidents:
        spool.append(records.pack(incident))
    first, real = segments(spool.path)[0], os.open

    def too_late(path, *more):
        if str(path).endswith(first) and os.path.exists(path):  # noqa: PTH110 - what os.open was given
            os.unlink(path)  # noqa: PTH108
        return real(path, *more)

    monkeypatch.setattr(os, "open", too_late)
    assert unshipped.read(spool_root).incidents.keys() == {incident.id for incident in incidents[1:]}


def test_a_dead_spool_whose_removal_is_cut_off_is_neither_shown_nor_shipped_again(spool_root, monkeypatch):
    mine, dead = open_spool(spool_root), open_spool(spool_root)
    dead.append(records.pack(make_incident()))
    dead.close()
    leftover = leftovers.adopt(spool_root, mine.path)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    leftover.remove()
    monkeypatch.undo()
    assert unshipped.read(spool_root).incidents == {}
    assert leftovers.adopt(spool_root, mine.path) is None
    leftovers.sweep(spool_root, time.time() + 100)
    assert [mine.path] == list(spool_root.iterdir())


def test_an_unwritable_place_is_a_spool_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError):
        open_spool(tmp_path / "file" / "below")


def test_a_living_process_is_not_robbed_and_two_of_one_name_live_apart(spool_root):
    first, second = open_spool(spool_root), open_spool(spool_root)
    assert first.path != second.path
    assert leftovers.adopt(spool_root, first.path) is None
    second.append(b"left")
    second.close()
    leftover = leftovers.adopt(spool_root, first.path)
    assert leftover is not None
    assert [line.record for line in read_all(leftover.tail)] == [b"left"]
    assert leftovers.adopt(spool_root, first.path) is None  # held by us now
    leftover.close()


def test_what_was_never_born_is_swept(spool_root):
    hidden = spool_root / ".new-x.1"
    hidden.mkdir(parents=True)
    (hidden / LOCK).touch()
    leftovers.sweep(spool_root, time.time())
    assert hidden.exists()
    leftovers.sweep(spool_root, time.time() + 100)
    assert not hidden.exists()


def test_fsync_is_asked_for_only_when_set(spool_root, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(os, "fdatasync", asked.append)
    open_spool(spool_root).append(b"x")
    assert asked == []
    open_spool(spool_root, fsync=True).append(b"x")
    assert len(asked) == 1
