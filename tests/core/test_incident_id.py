"""Incident ids: what is one tells its time and its tenant's tag, everything else is refused."""

from __future__ import annotations

import pytest

from proxy.core.incident import new_id, tag_of, tenant_tag, time_of


def test_an_id_tells_time_and_tag_in_either_case():
    made = new_id(1_780_000_000.25, "acme")
    assert (1_780_000_000.25, tenant_tag("acme")) == (time_of(made.lower()), tag_of(made.lower()))


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "U" + "0" * 25, "-" + "0" * 25, "\u00df" * 26, "\ufb00" + "0" * 25])
def test_what_is_none_is_refused_also_where_upper_case_has_more_letters(text):
    for read in (tag_of, time_of):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            read(text)
