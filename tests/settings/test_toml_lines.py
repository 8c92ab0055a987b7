"""Lines of keys, found in text that tomllib has accepted."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.toml_lines import line_at, lines_of

TEXT = '''# a comment with [brackets] and key = 1
top = 1 # [x]
"quoted key" = "a = b [c]"

[table] # comment
multi = """
fake = 1
[fake]
"""
after = [
  1, # ]
  2,
]
inline = { a = 1, b = [2] }
dotted.key.deep = 1
literal = \'\'\'
x = 1
\'\'\'
[ spaced . "sub" ]
k = '#'
[[list]]
n = 1
[[list]]
n = 2
[list.inner]
m = 3
'''


@pytest.mark.parametrize(
    "path, line",
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("table",), 5),
        (("table", "multi"), 6),
        (("table", "after"), 10),
        (("table", "inline"), 14),
        (("table", "inline", "a"), 14),
        (("table", "dotted", "key"), 15),
        (("table", "dotted", "key", "deep"), 15),
        (("table", "literal"), 16),
        (("spaced", "sub"), 19),
        (("spaced", "sub", "k"), 20),
        (("list", 0, "n"), 22),
        (("list", 1), 23),
        (("list", 1, "n"), 24),
        (("list", 1, "inner", "m"), 26),
        (("table", 0, "after"), 10),  # one table where several may stand is the first of them
        (("table", 0, "absent"), 5),
        (("list", 0, "absent"), 21),
        (("nowhere",), None),
        (("fake",), None),
    ],
)
def test_line_of_a_key(path, line):
    tomllib.loads(TEXT)
    assert line_at(lines_of(TEXT), path) == line


@given(st.text())
def test_any_text_gives_an_answer(text):
    assert all(1 <= line <= text.count("\n") + 1 for line in lines_of(text).values())


_words = st.text("abcdef_-0", min_size=1, max_size=4)
_values = st.sampled_from(["1", '"x = 1"', "'[y]'", "[1, 2]", "[\n 1,\n]", '"""\nz = 1\n"""', "{ q = 1 }", "true # [c]"])


@given(st.dictionaries(_words, st.dictionaries(_words, _values, max_size=4), max_size=4))
def test_every_written_key_is_found_on_its_line(tables):
    parts: list[str] = []
    expected: dict[Any, int] = {}
    for table, entries in tables.items():
        expected[(table,)] = "".join(parts).count("\n") + 1
        parts.append(f"[{table}]\n")
        for key, value in entries.items():
            expected[(table, key)] = "".join(parts).count("\n") + 1
            parts.append(f"{key} = {value}\n")
    text = "".join(parts)
    tomllib.loads(text)
    assert lines_of(text) == expected
