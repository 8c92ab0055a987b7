"""All settings in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr

from proxy.settings.faults import Fault
from proxy.settings.fronts import ForwardAuth, RateLimits
from proxy.settings.oauth import Oauth
from proxy.settings.section import Section
from proxy.settings.server import Listen, Log, Metrics, Ops, Traces, Upstream
from proxy.settings.tokens import Fresh, PolicySettings, Source, Tenant, TenantRoute
from proxy.settings.witness import Evidence, Spool, Store


def _base_path(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError("must start with a slash: write it like /scim/v2")
    return value.rstrip("/")


def _keys(value: SecretStr) -> SecretStr:
    if any(len(line.strip().encode()) < 16 for line in value.get_secret_value().splitlines()):
        raise ValueError("needs at least 16 bytes on each line: write the keys below each other, and nothing else")
    return value


def _some(value: tuple[Source, ...]) -> tuple[Source, ...]:
    if not value:
        raise ValueError("needs at least one entry: add a source, for without one nothing can be let in")
    return value


class Settings(Section):
    """The whole file. Durations in seconds, sizes in bytes."""

    state_dir: Path = Field(
        default=Path("state"),
        description="Folder for spool, key and embedded store; made with mode 0700. Give it: the default is below the folder "
        "in which a command is started, so one that is started elsewhere does not find the store.",
    )
    fingerprint_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Key of token fingerprints, at least 16 bytes; the same on all replicas. Made in "
        "state_dir/fingerprint.key if not given.",
    )
    fingerprint_key_file: Path | None = Field(default=None, description="File that holds fingerprint_key.")
    fingerprint_previous: Annotated[SecretStr, AfterValidator(_keys)] | None = Field(
        default=None,
        description="Keys from before, each on a line of its own, the newest first: what is remembered of a token under them "
        "is found under the present one. Keep each for as long as histories are kept.",
    )
    fingerprint_previous_file: Path | None = Field(default=None, description="File that holds fingerprint_previous.")
    instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Name of this process in incidents and heartbeats; host and process id if empty.",
    )
    base_path: Annotated[str, AfterValidator(_base_path)] = Field(
        default="",
        description="Where the SCIM endpoints begin, like /scim/v2. Used only to label operations; nothing is rewritten.",
    )
    loop: Literal["auto", "uvloop", "asyncio"] = Field(
        default="auto", description="Event loop; auto takes uvloop where it is installed."
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that serve clients on one socket: about one per core. With 1 there is no supervisor. Limits of "
        "connections and pools are those of each process.",
    )
    watch_every: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="The file, and the files that hold secrets, are looked at this often and taken anew when they changed; "
        "0: on SIGHUP only.",
    )
    listen: Listen = Field(default=Listen())
    limits: RateLimits = Field(default=RateLimits())
    forward_auth: ForwardAuth = Field(default=ForwardAuth())
    upstream: Upstream
    source: Annotated[tuple[Source, ...], AfterValidator(_some)] = Field(
        description="`[source]`, or several `[[source]]`: the first one that knows a token speaks for it."
    )
    fresh: Fresh = Field(default=Fresh())
    policy: PolicySettings = Field(default=PolicySettings())
    tenants: Mapping[str, Tenant] = Field(default_factory=dict, description="`[tenants.NAME]`: what is known of a tenant.")
    tenant_route: TenantRoute = Field(default=TenantRoute())
    oauth: Oauth = Field(default=Oauth())
    store: Store = Field(default=Store())
    spool: Spool = Field(default=Spool())
    evidence: Evidence = Field(default=Evidence())
    ops: Ops = Field(default=Ops())
    log: Log = Field(default=Log())
    metrics: Metrics = Field(default=Metrics())
    traces: Traces = Field(default=Traces())

    _warnings: tuple[Fault, ...] = PrivateAttr(default=())
    _values: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _files: tuple[Path, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is allowed but unwise, to be said at each start."""
        return self._warnings

    @property
    def values(self) -> Mapping[str, Any]:
        """What they were made of, secrets in clear: for a worker of ours, over a socket that nobody else has."""
        return self._values

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read: the settings' own, and each that holds a secret."""
        return self._files
