"""`incidents verify`: check the hash chains of the records in the store."""

from __future__ import annotations

import asyncio

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import store_fix, store_trouble
from proxy.cli.screen import Status
from proxy.evidence.redis_store import StoreError
from proxy.evidence.verify import EVERY_TAG, Verified, chains, purged, verify
from proxy.settings import Settings
from proxy.wire import store as stores


def verify_records(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Name the first record of each chain that was altered or removed. Exit status 1 when there is one."""
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
        found = [await verify(store, chain, settings.store.retention_days) for chain in await chains(store)]
        return found, await purged(store)
    finally:
        await store.close()


def _tell(found: list[Verified], gone: dict[str, float]) -> None:
    for tag, until in sorted(gone.items()):
        whose = "of all tenants" if tag == EVERY_TAG else f"whose ids hold the tag {tag}"
        screen.say(f"Not checked: incidents {whose} from before {times.show(until)} were purged.", "yellow")
    for chain in found:
        if chain.fault is None:
            continue
        fault = chain.fault
        what = f"record {fault.sequence} of {chain.chain} was {fault.what}"
        screen.line(f"{what}: {fault.incident} {fault.name}".rstrip(": "), "bold red")
    checked = sum(chain.checked for chain in found)
    faults = sum(chain.fault is not None for chain in found)
    screen.line(f"{checked} records in {len(found)} chains checked, {faults} faults.", "" if faults else "green")
