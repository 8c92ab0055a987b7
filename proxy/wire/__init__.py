"""The only place that knows every box: what there is, in which order it starts, and in which it stops."""

from proxy.wire.program import Place, Program
from proxy.wire.reading import open_reader
from proxy.wire.state import StartFault

__all__ = ["Place", "Program", "StartFault", "open_reader"]
