"""All names of keys in the store, and what they hold. Pure.

Every key begins with `sw:` and carries a hash tag, so that what one operation touches lies in one slot of a Cluster: the tag
of the tenant (4 characters, part of every incident id), the first 4 digits of a fingerprint, or a fixed word.
"""

from __future__ import annotations

from typing import Final

from proxy.core.incident import tag_of, tenant_tag

RECENT: Final = "sw:{recent}:inc"
"""zset: incident id by time in ms, the newest ones of all tenants."""
RECENT_TOKENS: Final = "sw:{recent}:fps"
"""zset: fingerprint by time last seen, the newest ones: what an instance loads when it starts."""
DEATHS: Final = "sw:{deaths}:seen"
"""zset: the end of a token (JSON), by the time in ms at which it was seen."""
FIRST_USES: Final = "sw:{uses}:first"
"""zset: the first good use of a token (JSON), by time in ms."""
RECENT_LINKS: Final = "sw:{recent}:links"
"""zset: refresh token, access token (fingerprints) and tenant, by time in ms, the newest 20,000: what an instance loads."""
OAUTH_CLIENTS: Final = "sw:{recent}:oauth-clients"
"""zset: OAuth client and the tenant of a token issued to it, by time in ms, the newest 10,000: what an instance loads."""
TENANTS: Final = "sw:{tenants}:seen"
"""zset: tenant by time of its last incident or activity."""
CHAINS: Final = "sw:{chains}:seen"
"""zset: spool chain by time of its last delivery."""
CHAIN_LAST: Final = "sw:{chains}:last"
"""zset: spool chain by the number of its last delivered record."""

MADE_ROOM: Final = "sw:{chains}:room"
"""zset of one: the time (epoch seconds) up to which incidents had to go because the embedded store was full."""

PURGED: Final = "sw:{chains}:purged"
"""zset: tag of a tenant, or `*` for all, by the time (epoch seconds) up to which its incidents were purged on demand."""

LAYOUT: Final = "sw:{layout}:number"
"""string: the number of the layout, that of this page (`evidence/layout.py`)."""

CHANGES: Final = "sw:{changes}:bus"
"""stream: fingerprints of tokens whose state was seen to change, the newest 10,000 (`evidence/bus.py`)."""

PROBE: Final = "sw:{probe}:"
"""string of a minute: what `store migrate --to` writes into one store to see whether the other is the same."""

CHAIN_BLOCK: Final = 100
"""Records in one hash of a chain's log: stays within hash-max-listpack-entries (128) of Redis 7, the compact form."""


CHAIN_BLOCKS_KEPT: Final = 10_000
"""Blocks of one chain's log: its newest million records, about 50 MB."""


def beginning(incident_id: str) -> str:
    """What all keys of this incident's tag begin with."""
    return f"sw:{{{tag_of(incident_id)}}}"


def stream(incident_id: str) -> str:
    """stream: the incidents of the tenants that share this tag, in the order of their arrival in the store."""
    return f"sw:{{{tag_of(incident_id)}}}:inc"


def pointer(incident_id: str) -> str:
    """string: the stream entry of an incident; that it exists makes a second delivery a no-op."""
    return f"sw:{{{tag_of(incident_id)}}}:i:{incident_id}"


def notes(incident_id: str) -> str:
    """hash: what was learned later, by name of the note."""
    return f"sw:{{{tag_of(incident_id)}}}:n:{incident_id}"


def by_tenant(tenant: str) -> str:
    """zset: incident id by time in ms."""
    return f"sw:{{{tenant_tag(tenant)}}}:by:{tenant}"


def by_token(fingerprint: str) -> str:
    """zset: incident id by time in ms, the newest 100."""
    return f"sw:{{{fingerprint[:4]}}}:tok:{fingerprint}"


def history(fingerprint: str) -> str:
    """hash: each instance's own part of a token's history."""
    return f"sw:{{{fingerprint[:4]}}}:h:{fingerprint}"


def names(fingerprint: str) -> str:
    """set: the other names of a token, under the fingerprint keys from before and after."""
    return f"sw:{{{fingerprint[:4]}}}:names:{fingerprint}"


def oauth_of_token(fingerprint: str) -> str:
    """zset: the OAuth calls that bear on a token (JSON), by time in ms."""
    return f"sw:{{{fingerprint[:4]}}}:oauth:{fingerprint}"


def oauth_of_tenant(tenant: str) -> str:
    """zset: the OAuth calls of a tenant (JSON), by time in ms."""
    return f"sw:{{{tenant_tag(tenant)}}}:oauth:{tenant}"


def refresh_link(refresh: str) -> str:
    """string: access token (fingerprint) and tenant of a refresh token (fingerprint)."""
    return f"sw:{{{refresh[:4]}}}:rt:{refresh}"


def known_tokens(prefix: str) -> str:
    """zset: fingerprints with a history that begin with these 4 digits, by time; for search by prefix."""
    return f"sw:{{{prefix[:4]}}}:fps"


def activity(tenant: str, day: int) -> str:
    """hash: minutes with their counters, by hour and process. `day` is days since the epoch."""
    return f"sw:{{{tenant_tag(tenant)}}}:act:{day}:{tenant}"


def last_request(tenant: str) -> str:
    """hash: the last request that each instance saw of this tenant."""
    return f"sw:{{{tenant_tag(tenant)}}}:last:{tenant}"


def silence(tenant: str) -> str:
    """string: the mark (JSON) of a tenant's latest silence."""
    return f"sw:{{{tenant_tag(tenant)}}}:silent:{tenant}"


def heartbeats(day: int, instance: str) -> str:
    """hash: unbroken spans of equal beats, by their start. `day` is days since the epoch."""
    return f"sw:{{hb{day}}}:{instance}"


def heartbeat_instances(day: int) -> str:
    """set: the instances that beat on this day."""
    return f"sw:{{hb{day}}}"


def chain_block(chain: str, sequence: int) -> str:
    """hash: kind, id and digest of each record of a chain, by its number."""
    return f"sw:{{ch:{chain}}}:{sequence // CHAIN_BLOCK}"
