"""`incidents verify`: check the hash chains of the records in the store."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import store_fix, store_trouble
from proxy.cli.screen import Status
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.strays import Strays, strays
from proxy.evidence.verify import EVERY_TAG, Verified, chains, purged, verify
from proxy.settings import Settings
from proxy.wire import store as stores

AGAIN: Final = 1.0
"""Seconds until a fault is looked at once more: a delivery takes a hundredth of it."""


def verify_records(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Name the first record of each chain that was altered or removed, and incidents that no chain has. Exit status 1 when
    there is one."""
    settings = settings_from(config)
    try:
        found, gone = asyncio.run(_verify(settings))
    except StoreError as error:
        screen.stop(f"the store cannot be reached: {store_trouble(settings, error)}", store_fix(settings), Status.STORE)
    if as_json:
        screen.as_json(found)
    else:
        _tell(found, gone)
    if any(chain.fault for chain in found):
        raise typer.Exit(int(Status.FAILED))


async def _verify(settings: Settings) -> tuple[list[Verified], dict[str, float]]:
    url = stores.url_of(settings)
    if url is None:
        raise StoreError("unreachable", "the embedded store does not run")
    store = stores.open_store(settings, url)
    try:
        days = settings.store.retention_days
        looked = await strays(store, days)
        names = dict.fromkeys([*await chains(store), *looked.chains])
        found = [await _surely(store, chain, days) for chain in names]
        return _with(found, looked), await purged(store)
    finally:
        await store.close()


async def _surely(store: RedisStore, chain: str, days: float) -> Verified:
    """A record that is replaced while we look may seem altered, but not twice."""
    found = await verify(store, chain, days)
    if found.fault is None:
        return found
    await asyncio.sleep(AGAIN)
    return await verify(store, chain, days)


def _with(found: list[Verified], looked: Strays) -> list[Verified]:
    """Name what was added where nothing worse was found in that chain, and in chains that there are not."""
    added = {fault.chain: fault for fault in looked.faults}
    known = [
        msgspec.structs.replace(chain, fault=added.pop(chain.chain, None)) if chain.fault is None else chain for chain in found
    ]
    faulty = {chain.chain for chain in found}
    return [*known, *(Verified(name, 0, 0, fault) for name, fault in added.items() if name not in faulty)]


def _tell(found: list[Verified], gone: dict[str, float]) -> None:
    for tag, until in sorted(gone.items()):
        whose = "of all tenants" if tag == EVERY_TAG else f"whose ids hold the tag {tag}"
        screen.say(f"Not checked: incidents {whose} from before {times.show(until)} were purged.", "yellow")
    for chain in found:
        if chain.fault is None:
            continue
        fault = chain.fault
        what = f"record {fault.sequence} of {chain.chain or 'no chain'} was {fault.what}"
        screen.line(f"{what}: {fault.incident} {fault.name}".rstrip(": "), "bold red")
    checked = sum(chain.checked for chain in found)
    faults = sum(chain.fault is not None for chain in found)
    chains = "1 chain" if len(found) == 1 else f"{len(found)} chains"
    screen.line(
        f"{checked} records in {chains} checked, {faults} fault{'' if faults == 1 else 's'}.", "" if faults else "green"
    )
