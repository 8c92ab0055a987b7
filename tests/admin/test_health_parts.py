"""What the wired program says of its sources: all together, and each where there are several."""

from __future__ import annotations

from proxy.core.token import Known
from proxy.wire.ops import first_expiries

NOW = 1_790_000_000.0


def test_the_first_expiry_of_each_tenant_counts_and_revoked_ones_do_not():
    rows = [
        Known(1, "acme", NOW, 500),
        Known(2, "acme", NOW, 300),
        Known(3, "acme", NOW, 100, revoked_at=NOW),
        Known(4, "globex", NOW, None),
        Known(5, "hooli", NOW, 900),
    ]
    assert {"acme": NOW + 300, "hooli": NOW + 900} == first_expiries(rows)
