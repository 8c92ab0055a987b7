"""Who calls, as far as it may be remembered: the family of the user agent and the network, not the address. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

FAMILY_LENGTH: Final = 40
MEMO_LIMIT: Final = 10_000
"""Pairs of user agent and address whose identity is remembered: clients are few, and a flood must not grow this."""

V4_PREFIX: Final = 24
V6_PREFIX: Final = 48
"""The networks that a site is commonly given: what an identity provider's egress addresses share."""

_memo: dict[tuple[str, str], tuple[str, str]] = {}


@lru_cache(2_048)  # a flood comes from few addresses, and every refusal asks
def prefix_of(address: str) -> str:
    """The /24 or /48 around an address; the text itself when it is none (a unix socket)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:FAMILY_LENGTH]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = V4_PREFIX if parsed.version == 4 else V6_PREFIX
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def family_of(user_agent: str) -> str:
    """The product's name without its version: what stands before the first `/`, at most 40 characters."""
    return user_agent.partition("/")[0].strip()[:FAMILY_LENGTH]


def identify(user_agent: str, address: str) -> tuple[str, str]:
    """Family and network, remembered."""
    key = (user_agent, address)
    found = _memo.get(key)
    if found is None:
        if len(_memo) >= MEMO_LIMIT:
            _memo.clear()
        found = _memo[key] = (family_of(user_agent), prefix_of(address))
    return found
