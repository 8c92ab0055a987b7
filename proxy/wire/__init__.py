"""The only place that knows every box: what there is, in which order it starts, and in which it stops."""

from proxy.wire.program import Program
from proxy.wire.reading import open_reader
from proxy.wire.state import StartFault

__all__ = ["Program", "StartFault", "open_reader"]
