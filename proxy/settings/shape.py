"""All settings in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import field

from proxy.settings.faults import Fault
from proxy.settings.fronts import ForwardAuth, RateLimits
from proxy.settings.oauth import Oauth
from proxy.settings.section import Bounds, Check, Secret, Section, matching
from proxy.settings.server import Listen, Log, Metrics, Ops, Traces, Upstream
from proxy.settings.tokens import Fresh, PolicySettings, Source, Tenant, TenantRoute
from proxy.settings.witness import Evidence, Spool, Store


def _base_path(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError("must start with a slash: write it like /scim/v2")
    return value.rstrip("/")


def _keys(value: Secret) -> Secret:
    if any(len(line.strip().encode()) < 16 for line in value.get_secret_value().splitlines()):
        raise ValueError("needs at least 16 bytes on each line: write the keys below each other, and nothing else")
    return value


def _some(value: tuple[Source, ...]) -> tuple[Source, ...]:
    if not value:
        raise ValueError("needs at least one entry: add a source, for without one nothing can be let in")
    return value


class Settings(Section, frozen=True, kw_only=True, dict=True):
    """The whole file. Durations in seconds, sizes in bytes."""

    state_dir: Annotated[
        Path,
        "Folder for spool, key and embedded store; made with mode 0700. Give it: the default is below the folder "
        "in which a command is started, so one that is started elsewhere does not find the store.",
    ] = Path("state")
    fingerprint_key: Annotated[
        Secret | None,
        Bounds(min_length=16),
        "Key of token fingerprints, at least 16 bytes; the same on all replicas. Made in "
        "state_dir/fingerprint.key if not given.",
    ] = None
    fingerprint_key_file: Annotated[Path | None, "File that holds fingerprint_key."] = None
    fingerprint_previous: Annotated[
        Secret | None,
        Check(_keys),
        "Keys from before, each on a line of its own, the newest first: what is remembered of a token under them "
        "is found under the present one. Keep each for as long as histories are kept.",
    ] = None
    fingerprint_previous_file: Annotated[Path | None, "File that holds fingerprint_previous."] = None
    instance: Annotated[
        str,
        Check(matching(r"^[A-Za-z0-9._-]{0,64}$")),
        "Name of this process in incidents and heartbeats; host and process id if empty.",
    ] = ""
    base_path: Annotated[
        str,
        Check(_base_path),
        "Where the SCIM endpoints begin, like /scim/v2. Used only to label operations; nothing is rewritten.",
    ] = ""
    loop: Annotated[Literal["auto", "uvloop", "asyncio"], "Event loop; auto takes uvloop where it is installed."] = "auto"
    workers: Annotated[
        int,
        Bounds(ge=1, le=64),
        "Processes that serve clients on one socket: about one per core. With 1 there is no supervisor. Limits of "
        "connections and pools are those of each process.",
    ] = 1
    watch_every: Annotated[
        float,
        Bounds(ge=0, le=3600),
        "The file, and the files that hold secrets, are looked at this often and taken anew when they changed; "
        "0: on SIGHUP only.",
    ] = 5
    listen: Listen = Listen()
    limits: RateLimits = RateLimits()
    forward_auth: ForwardAuth = ForwardAuth()
    upstream: Upstream
    source: Annotated[
        tuple[Source, ...], Check(_some), "`[source]`, or several `[[source]]`: the first one that knows a token speaks for it."
    ]
    fresh: Fresh = Fresh()
    policy: PolicySettings = PolicySettings()
    tenants: Annotated[Mapping[str, Tenant], "`[tenants.NAME]`: what is known of a tenant."] = field(default_factory=dict)
    tenant_route: TenantRoute = TenantRoute()
    oauth: Oauth = Oauth()
    store: Store = Store()
    spool: Spool = Spool()
    evidence: Evidence = Evidence()
    ops: Ops = Ops()
    log: Log = Log()
    metrics: Metrics = Metrics()
    traces: Traces = Traces()

    def keep(self, warnings: tuple[Fault, ...], values: Mapping[str, Any], files: tuple[Path, ...]) -> None:
        """Remember how they were made: for their maker. It is no part of what they are, and is neither compared nor printed."""
        self.__dict__.update(warnings=warnings, values=values, files=files)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is allowed but unwise, to be said at each start."""
        found: tuple[Fault, ...] = self.__dict__.get("warnings", ())
        return found

    @property
    def values(self) -> Mapping[str, Any]:
        """What they were made of, secrets in clear: for a worker of ours, over a socket that nobody else has."""
        found: Mapping[str, Any] = self.__dict__.get("values", {})
        return found

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read: the settings' own, and each that holds a secret."""
        found: tuple[Path, ...] = self.__dict__.get("files", ())
        return found
