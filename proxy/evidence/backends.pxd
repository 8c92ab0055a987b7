cimport cython

cdef class _Count:
    cdef public object accepted, refused, first_accepted, last_accepted, first_refused, last_refused

cdef class _Token:
    cdef public object before, counts
    cdef public double began

cdef class Backends:
    cdef public object _limit, _tokens
    @cython.locals(count=_Count)
    cpdef saw(self, exchange)
    @cython.locals(token=_Token)
    cpdef _count(self, fingerprint, address, at)
