"""What is written cannot steer a terminal, stays whole in a pipe, and is JSON where JSON was asked for."""

from __future__ import annotations

import json

import pytest
import typer

from proxy.cli import screen

HOSTILE = "\x1b[2Jred\x07\x9b31m\u202etxt\r\x00"


def test_controls_are_shown_not_obeyed(capsys):
    screen.line(HOSTILE)
    screen.facts([("agent", HOSTILE)])
    screen.table(("A", "B"), [(HOSTILE, HOSTILE)])
    screen.say(HOSTILE)
    written = capsys.readouterr()
    for text in (written.out, written.err):
        assert not {c for c in text if c != "\n" and not c.isprintable()}
        assert r"\x1b[2Jred\x07\x9b31m\u202etxt\x0d\x00" in text


def test_json_escapes_them_too_and_is_read_back_the_same(capsys):
    screen.as_json({"agent": HOSTILE, "b": [1, None]})
    text = capsys.readouterr().out
    assert not {c for c in text if c != "\n" and not c.isprintable()}
    assert json.loads(text) == {"agent": HOSTILE, "b": [1, None]}


def test_a_record_a_line(capsys):
    screen.as_json({"a": 1}, pretty=False)
    screen.as_json({"a": 2}, pretty=False)
    assert [json.loads(line)["a"] for line in capsys.readouterr().out.splitlines()] == [1, 2]


def test_a_table_in_a_pipe_is_neither_cut_nor_wrapped_nor_coloured(capsys):
    screen.table(("NAME", "WHAT"), [("a" * 300, "x"), ("", "[bold]y[/bold]")], ("red",))
    assert capsys.readouterr().out.splitlines() == [
        "NAME" + " " * 296 + "  WHAT",
        "a" * 300 + "  x",
        "-" + " " * 299 + "  [bold]y[/bold]",
    ]


def test_stop_says_fault_and_fix_on_stderr_and_ends_with_the_status(capsys):
    with pytest.raises(typer.Exit) as caught:
        screen.stop("no such thing", "Look elsewhere", screen.Status.NOT_FOUND)
    written = capsys.readouterr()
    assert (caught.value.exit_code, written.out, written.err) == (
        3,
        "",
        "scim-witness: no such thing\n  Look elsewhere\n",
    )
