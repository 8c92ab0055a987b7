"""Why did it stop? A pure function from evidence to a named cause.

    Evidence -> set_scene (then, before, later) -> every Rule of CATALOGUE -> rank -> Diagnosis

Here: one small rule per cause, its words for operator and customer, its page in the docs. Not here: gathering evidence,
the present time (a diagnosis does not depend on when it is asked for), anything that could hold a token.
"""

from proxy.core.diagnosis.catalogue import CATALOGUE, diagnose
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
