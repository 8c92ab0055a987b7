"""Sends on what a node of a Cluster did not take, to the node that it named, and waits there for that one's replicas.

redis-py would send it on by itself, but after the WAIT and on another connection, where nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import AskError, MovedError

from proxy.evidence.copies import Copies, Wait


async def follow(
    client: RedisCluster, copies: Copies, commands: Sequence[Any], answers: list[Any]
) -> tuple[Sequence[Wait], Sequence[Any]]:
    """Put the answers of the named nodes in the place of redirections. Returns whom was waited for there, and what came of it.
    One that is sent on again keeps its error, and is for another time."""
    turned = {place: answer for place, answer in enumerate(answers[: len(commands)]) if isinstance(answer, AskError)}
    for error in turned.values():
        if isinstance(error, MovedError):  # which is an AskError as well
            await client.nodes_manager.move_slot(error)
    nodes = {place: client.get_node(host=error.host, port=error.port) for place, error in turned.items()}
    known = {place: node for place, node in nodes.items() if node is not None}
    if not known:
        return (), ()
    copies.forget()
    numbers = {wait[0].name: wait for wait in await copies.waits()}
    waits = [numbers[name] for name in dict.fromkeys(node.name for node in known.values()) if name in numbers]
    pipe: Any = client.pipeline(transaction=False)
    places: list[int | None] = []
    for place, node in known.items():
        if not isinstance(turned[place], MovedError):  # the slot is on its way there: it takes nothing yet without ASKING
            pipe.execute_command("ASKING", target_nodes=node)
            places.append(None)
        pipe.execute_command(*commands[place], target_nodes=node)
        places.append(place)
    for wait in waits:
        waiting, where = copies.command(wait)
        pipe.execute_command(*waiting, **where)
    found: list[Any] = await pipe.execute(raise_on_error=False, allow_redirections=False)
    for of, answer in zip(places, found, strict=False):
        if of is not None:
            answers[of] = answer
    return waits, found[len(places) :]
