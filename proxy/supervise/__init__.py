"""Keeps the proxy running: one process or several on one socket, other settings and other versions without a lost request.

Here: signals, files that change, workers, successors, systemd. Not here: anything of a request; a process that serves is a
`wire.Program`, whether it is alone or a worker. `serving` runs either; `supervisor` is what stands in for the program when
there are workers.
"""

# first, for it decides what structlog and redis-py load
from proxy.wire import sparse

__all__ = ["sparse"]
