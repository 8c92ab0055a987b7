"""The only place that knows every box: what there is, in which order it starts, and in which it stops."""

# sparse comes first, for it decides what structlog and redis-py load
from proxy.wire import sparse
from proxy.wire.program import Place, Program
from proxy.wire.reading import open_reader
from proxy.wire.state import StartFault

__all__ = ["Place", "Program", "StartFault", "open_reader", "sparse"]
