"""One target for some seconds under libFuzzer: `python -m tests.fuzz bearer --seconds 10`; without a name, what there is.

It ends with status 0 and a line of counts, or says what does not hold and writes the input as a literal, with which
`python -m tests.fuzz bearer --input LITERAL` shows it again without a fuzzer.
"""

from __future__ import annotations

import argparse
import ast
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from tests.fuzz.target import Target

HANG_SECONDS: Final = 10
"""An input that takes so long has found a loop or a pattern that backtracks; the machine may be busy with other things."""
RSS_MIB: Final = 1_024
"""Resident memory of a run: what is parsed has some kilobytes, and what is remembered of it has bounds."""


def main() -> None:
    """Run or list."""
    os.environ["SCIM_WITNESS_PURE"] = "1"  # what is compiled tells no coverage
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's chance; 0: another one each time")
    parser.add_argument("--input", help="a literal of bytes that was found")
    asked = parser.parse_args()
    if asked.input is not None:
        print("accepted" if _targets()[asked.target].check(ast.literal_eval(asked.input)) else "refused")
    elif asked.target is None:
        print("\n".join(_targets()))
    else:
        _fuzz(asked.target, asked.seconds, asked.seed)


def _targets() -> dict[str, Target]:
    from tests.fuzz.table import TARGETS

    return TARGETS


def _fuzz(name: str, seconds: float, seed: int) -> NoReturn:
    import atheris

    room = pathlib.Path(tempfile.mkdtemp(prefix="sw-fuzz-"))  # stays when libFuzzer ends it: a hang's input lies there
    tempfile.tempdir = str(room)  # for what targets make, too: nothing cleans up behind os._exit
    with atheris.instrument_imports(include=["proxy"]):
        target = _targets()[name]
    corpus, words = room / "corpus", room / "words"
    corpus.mkdir()
    for number, given in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(given)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = [
        f"-max_len={target.limit}",
        f"-dict={words}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={RSS_MIB}",
        f"-seed={seed or int.from_bytes(os.urandom(4)) or 1}",
        f"-artifact_prefix={room}/",
        "-verbosity=0",
    ]
    atheris.Setup([name, *options, str(corpus)], _checked(target, seconds, room))
    atheris.Fuzz()
    raise AssertionError("libFuzzer came back")


def _escaped(word: bytes) -> str:
    return "".join(rf"\x{octet:02x}" for octet in word)


def _checked(target: Target, seconds: float, room: pathlib.Path) -> Callable[[bytes], None]:
    """The check for libFuzzer, which ends the process by itself: atheris runs no handler at the end."""
    until = time.monotonic() + seconds
    seen = accepted = 0

    def end(status: int) -> NoReturn:
        shutil.rmtree(room, ignore_errors=True)
        os._exit(status)

    def check(data: bytes) -> None:
        nonlocal seen, accepted
        try:
            accepted += target.check(data)
        except BaseException:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc()
            print(f"{target.name} does not hold for --input {data!r}", file=sys.stderr, flush=True)
            end(77)
        seen += 1
        if time.monotonic() > until:
            print(f"{target.name}: {seen} inputs, {accepted} accepted", flush=True)
            end(0)

    return check


if __name__ == "__main__":
    main()
