"""Why did it stop? A pure function from evidence to a named cause.

    Evidence -> set_scene (then, before, later) -> every Rule of CATALOGUE -> rank -> Diagnosis

Here: one small rule per cause, its words for operator and customer, its page in the docs. Not here: gathering evidence,
the present time (a diagnosis does not depend on when it is asked for), anything that could hold a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.core.diagnosis.cause import Cause, Code, Confidence, Diagnosis
from proxy.core.diagnosis.evidence import (
    Absence,
    Activity,
    BackendVerdicts,
    ClientMemory,
    Coverage,
    Death,
    Evidence,
    NeighbourIncident,
    NeighbourRequest,
    OauthEvent,
    Others,
)

if TYPE_CHECKING:
    from proxy.core.diagnosis.catalogue import CATALOGUE, diagnose

__all__ = [
    "CATALOGUE",
    "Absence",
    "Activity",
    "BackendVerdicts",
    "Cause",
    "ClientMemory",
    "Code",
    "Confidence",
    "Coverage",
    "Death",
    "Diagnosis",
    "Evidence",
    "NeighbourIncident",
    "NeighbourRequest",
    "OauthEvent",
    "Others",
    "diagnose",
]


def __getattr__(name: str) -> Any:
    """The rules are imported with the first diagnosis: a proxy that is not asked for one does not keep them in memory."""
    if name not in ("CATALOGUE", "diagnose"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from proxy.core.diagnosis import catalogue  # noqa: PLC0415 - see above

    return getattr(catalogue, name)
