"""What the wired program says of its sources: all together, and each where there are several."""

from __future__ import annotations

from proxy.core.token import Known
from proxy.wire.ops import first_expiries

NOW = 1_790_000_000.0
DAY = 86_400


def test_the_first_expiry_of_each_tenant_counts_and_revoked_ones_do_not():
    rows = [
        Known(1, "acme", NOW, 50 * DAY),
        Known(2, "acme", NOW, 40 * DAY),
        Known(3, "acme", NOW, 35 * DAY, revoked_at=NOW),
        Known(4, "globex", NOW, None),
        Known(5, "hooli", NOW, 90 * DAY),
        Known(6, "hooli", NOW, 60 * DAY, refreshable=True),  # its client renews it
        Known(7, "hooli", NOW, 7200),  # nobody pastes a token every two hours
    ]
    assert {"acme": NOW + 40 * DAY, "hooli": NOW + 90 * DAY} == first_expiries(rows)
