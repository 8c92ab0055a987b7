"""`scim-witness demo`: the played incident."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.demo.play import perform

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def demo(
    oneshot: Annotated[
        bool, typer.Option("--oneshot", envvar="DEMO_ONESHOT", help="Play it, print the explanation and end.")
    ] = False,
) -> None:
    """Play an incident from 401 to answer on free ports of this machine, then run on until Ctrl-C. Leaves nothing behind."""
    raise typer.Exit(perform(oneshot=oneshot))
