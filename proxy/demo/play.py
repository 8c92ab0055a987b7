"""The played incident: provisioning works, the vendor regenerates a token, the next call gets 401, one command explains it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import pathlib
import shutil
import signal
import sys
import textwrap
import traceback
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

from proxy.demo.okta import OktaApp, ProvisioningError
from proxy.demo.postgres import PostgresError
from proxy.demo.stage import Stage, set_up
from proxy.settings import load
from proxy.tasks import Tasks
from proxy.wire import StartFault, open_reader

EXPECTED: Final = "token_superseded"
"""The cause that the explanation must name: the client holds an older token of the same application and owner."""
SEEN_WITHIN: Final = 2.5
"""Seconds after which the proxy enforces a revocation: `fresh.fresh_for` is 2."""
TRAFFIC_EVERY: Final = 5.0
"""Seconds between the requests of the customers who live on while the demo runs."""

EVIDENCE_WITHIN: Final = 10.0
"""Seconds for what stands around the token to be read and recorded; a fraction of one on an idle machine."""
WIDTH: Final = 100
"""Columns, as those of the explanation."""
INDENT: Final = 13

_ISSUED: Final = dt.datetime(2026, 5, 3, 9, 12, tzinfo=dt.UTC)


class Teller:
    """Tells the story: numbered steps, aligned, styled on a terminal and plain in a pipe."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._step = 0
        self.done = False

    def step(self, who: str, what: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._print(Text(f"{self._step:>2}  ").append(f"{who:<9}", "bold").append(what))

    def line(self, text: str = "", style: str = "") -> None:
        """Add a line below the step."""
        for part in textwrap.wrap(text, WIDTH - INDENT, break_on_hyphens=False):
            self._print(Text(" " * INDENT + part, style))

    def call(self, method: str, path: str, status: int) -> None:
        """Add a request and its answer. Long targets are cut, as ids and filters say nothing here."""
        shown = path if len(path) <= 44 else path[:41] + "..."
        self._print(Text(f"{'':{INDENT}}{method:<6}{shown:<46}").append(str(status), "green" if status < 300 else "bold red"))

    def plain(self, text: str = "", style: str = "") -> None:
        """Write a line without indent."""
        self._print(Text(text, style))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
        self._console.file.flush()


def perform(*, oneshot: bool) -> int:
    """Play it; return the exit status: 0, 1 when something failed or the explanation names another cause, 130 when stopped."""
    try:
        return asyncio.run(_perform(Teller(), oneshot=oneshot))
    except (PostgresError, StartFault) as fault:
        _complain(str(fault))
    except Exception as error:  # noqa: BLE001 - the person sees one line, not a trace
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _complain(f"the demo failed: {type(error).__name__}: {error} ({pathlib.Path(frame.filename).name}:{frame.lineno})")
    return 1


def _complain(text: str) -> None:
    Console(stderr=True, highlight=False).print(Text(f"scim-witness: {text}"), soft_wrap=True)


async def _perform(teller: Teller, *, oneshot: bool) -> int:
    """Play until the end or until a signal; either way everything that was started is stopped in order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = Tasks(lambda _name, _error: None)  # what the play raises comes out of its result
    acting = tasks.start(_act(teller, oneshot=oneshot), "play")
    waiting = tasks.start(stop.wait(), "stop")
    try:
        _ = await asyncio.wait((acting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            status: int = acting.result()
            return status
    finally:
        await tasks.close()
    return 0 if teller.done else 130


async def _act(teller: Teller, *, oneshot: bool) -> int:
    teller.plain("One incident, from the 401 to the answer", "bold")
    teller.plain()
    async with set_up() as stage:
        incident = await _incident(stage, teller)
        if incident is None:
            teller.line("The demo went wrong: the refused call got no 401 with an incident.", "bold red")
            return 1
        status = await _explain(stage, teller, incident)
        if oneshot or status:
            return status
        await _other_fates(stage)
        _say_what_runs(stage, teller)
        teller.done = True
        return await _daily_traffic(stage)


async def _incident(stage: Stage, teller: Teller) -> str | None:
    """Play it and return the incident's id as the client got it."""
    teller.step("Vendor", "keeps its tokens in Doorkeeper's tables in PostgreSQL, beside a SCIM backend")
    teller.step("Proxy", f"stands in front of the backend: {stage.url}")
    acme = await stage.vendor.sign_up("acme", _ISSUED)
    teller.step("Customer", "acme pasted its ten-year token into Okta; provisioning works")
    okta = OktaApp(stage.session, stage.url, f"Bearer {acme.token}", teller.call)
    await okta.test_connection()
    ada = await okta.create("ada@acme.example", "Ada", "Lovelace")
    await okta.update(ada, {"title": "Analyst"})
    teller.step("Vendor", 'somebody presses "Regenerate token" for acme and tells nobody')
    await stage.vendor.regenerate(acme)
    await asyncio.sleep(SEEN_WITHIN)
    teller.step("Okta", "sends the next change with the token that it has")
    reached = stage.backend.answered
    try:
        await okta.update(ada, {"title": "Countess"})
    except ProvisioningError as error:
        teller.line(f"Okta tells its administrator: Unauthorized. {error.detail}", "yellow")
        teller.line("The job stays failed; Okta is silent from now on.")
        if stage.backend.answered == reached:
            teller.line("The backend saw nothing: its log cannot help.")
        return error.incident if error.status == 401 else None
    return None


async def _explain(stage: Stage, teller: Teller, incident: str) -> int:
    """Run the command that answers, as a person would, and check that it names the right cause."""
    await _evidence_is_in(stage, incident)
    teller.step("You", "ask the witness")
    teller.plain()
    teller.plain(f"$ {_command()} explain {incident} --config {stage.config}", "bold")
    arguments = ("explain", incident, "--config", str(stage.config))
    shown = await asyncio.create_subprocess_exec(sys.executable, "-m", "proxy.cli", *arguments)
    status = await shown.wait()
    checked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.cli", *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await checked.communicate()
    code = _cause(answer)
    if status or code != EXPECTED:
        teller.plain(f"The explanation should name {EXPECTED}; it names {code or 'nothing'}.", "bold red")
        return 1
    return 0


async def _evidence_is_in(stage: Stage, incident: str) -> None:
    """Wait until the proxy has noted what stands around the token: it does so after the 401, off the client's way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(EVIDENCE_WITHIN), open_reader(load(stage.config, {})) as reader:
            while not any(note.surroundings for note in await reader.notes(incident)):  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.1)


async def _other_fates(stage: Stage) -> None:
    """Let other customers meet other ends, so that lists and pages have something to show."""
    names = ("globex", "initech", "hooli", "umbrella", "stark")
    customers = {name: await stage.vendor.sign_up(name, _ISSUED) for name in names}
    for customer in customers.values():
        await _try(OktaApp(stage.session, stage.url, f"Bearer {customer.token}"))
    age = dt.datetime.now(dt.UTC) - _ISSUED
    await stage.vendor.shorten(customers["globex"], int(age.total_seconds()) + 1)  # ends within this second
    await stage.vendor.delete(customers["hooli"])
    await asyncio.sleep(SEEN_WITHIN)
    initech = customers["initech"].token
    for authorization in (
        f"Bearer {customers['globex'].token}",  # expired meanwhile
        f"Bearer Bearer {initech}",  # Okta adds the prefix that the administrator typed as well
        f"Bearer {initech[:-3]}",  # cut when it was copied
        f"Bearer {customers['hooli'].token}",  # a cleanup job deleted the row
        None,  # a tier in between strips the header
        f"Bearer {customers['stark'].token}",  # works
    ):
        await _try(OktaApp(stage.session, stage.url, authorization))
    stage.living.append(OktaApp(stage.session, stage.url, f"Bearer {customers['stark'].token}"))


async def _try(okta: OktaApp) -> None:
    with contextlib.suppress(ProvisioningError):
        await okta.test_connection()


async def _daily_traffic(stage: Stage) -> NoReturn:
    """The customers whose token works go on, until the demo ends."""
    while True:
        for okta in stage.living:
            await _try(okta)
        await asyncio.sleep(TRAFFIC_EVERY)


def _say_what_runs(stage: Stage, teller: Teller) -> None:
    teller.plain()
    teller.plain("Everything runs on until Ctrl-C. Five more customers met other fates meanwhile.", "bold")
    teller.plain(f"  proxy      {stage.url}")
    teller.plain(f"  operators  {stage.ops}/  {stage.ops}/incidents  {stage.ops}/metrics")
    teller.plain(f"  try        {_command()} incidents list --config {stage.config}")


def _command() -> str:
    """The command as the person can type it here."""
    if shutil.which("scim-witness"):
        return "scim-witness"
    program = pathlib.Path(sys.argv[0])
    if program.name != "scim-witness":
        return "scim-witness"
    with contextlib.suppress(ValueError):
        return str(program.resolve().relative_to(pathlib.Path.cwd()))
    return str(program)


def _cause(answer: bytes) -> str:
    """The cause's code in the output of `explain --json`, empty when there is none."""
    try:
        found = json.loads(answer)
        return str(found["cause"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
