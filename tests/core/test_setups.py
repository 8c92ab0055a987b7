"""Which set-up each tenant uses, from the rows alone: bounded by tenants, and the token in use speaks."""

from __future__ import annotations

from proxy.core.history import TokenHistory
from proxy.core.setup import Setup, setup_of
from proxy.core.setups import Setups, kind_of
from proxy.core.token import Known

NOW = 1_800_000_000.0


def row(number: int, tenant: str = "acme", **more: object) -> Known:
    values = {"created_at": NOW + number, "refreshable": False} | more
    return Known(number, tenant, **values)  # type: ignore[arg-type]


def gathered(*rows: tuple[Known, bool | None, float | None], kept: int = 10) -> Setups:
    setups = Setups(kept)
    for token, granted, used in rows:
        use = None if used is None else TokenHistory(f"{token.row:032x}", last_good=used)
        setups.saw(token, use, granted=granted)
    return setups


def test_the_token_in_use_speaks_and_else_the_newest():
    code, static = row(1, refreshable=True, expires_in=60), row(2)
    (in_use,) = gathered((code, True, NOW), (static, False, None)).told()
    assert (Setup.CODE, 2) == (in_use.setup, in_use.tokens)
    (newest,) = gathered((static, False, None), (code, True, None)).told()
    assert (Setup.STATIC, "Its row has no refresh token and never expires.") == (newest.setup, *newest.evidence)


def test_who_stops_first_comes_first_with_the_date():
    setups = gathered(
        (row(1, "a"), False, None),
        (row(2, "b", expires_in=100), True, None),
        (row(3, "c", expires_in=50), True, None),
        (row(4, "d", refreshable=None), None, None),
    )
    found = [(one.tenant, one.setup, one.stops_at) for one in setups.told()]
    assert [
        ("c", Setup.CODE, NOW + 53),
        ("b", Setup.CODE, NOW + 102),
        ("a", Setup.STATIC, None),
        ("d", Setup.UNKNOWN, None),
    ] == found
    assert {Setup.CODE: 2, Setup.STATIC: 1, Setup.UNKNOWN: 1} == dict(setups.tokens)


def test_tenants_are_bounded_and_all_tokens_counted():
    setups = gathered(*((row(n, f"t{n}"), False, None) for n in range(5)), (row(9, "t0"), False, None), kept=3)
    assert (["t0", "t1", "t2"], 2, 6) == ([one.tenant for one in setups.told()], setups.left_out, setups.tokens[Setup.STATIC])


def test_the_count_says_the_same_as_the_words():
    for refreshable in (True, False, None):
        for granted in (True, False, None):
            token = row(1, refreshable=refreshable)
            assert setup_of(token, None, grant_exists=granted).setup is kind_of(token, granted=granted)


def test_of_calls_nobody_knows_nothing_is_said():
    assert "no OAuth call" in setup_of(row(1), ()).evidence[0]
    assert "OAuth" not in setup_of(row(1), None).evidence[0]
