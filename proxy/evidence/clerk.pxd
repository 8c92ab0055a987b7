from proxy.evidence.beside cimport Beside
from proxy.evidence.history cimport History

cdef class Clerk:
    cdef public Beside _beside
    cdef public History _history
    cdef public object _witness, _folder, _rereader, _surveyor, _sinks, _events, _hurry, _bus, _aliases
    cpdef saw(self, exchange)
