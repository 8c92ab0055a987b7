"""Every target by its name. A parser of bytes that strangers write has its place here."""

from __future__ import annotations

from typing import Final

from tests.fuzz import backend, documents, evidence, http, oauth, presented, road, texts
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for part in (http, backend, presented, documents, oauth, evidence, texts, road)
    for target in part.TARGETS
}
