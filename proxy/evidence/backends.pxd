cimport cython

cdef class _Count:
    cdef public Py_ssize_t accepted, refused
    cdef public double first_accepted, last_accepted, first_refused, last_refused

cdef class _Token:
    cdef public double began
    cdef public object address, before, counts
    cdef public _Count count

cdef class Backends:
    cdef public object _limit, _tokens
    @cython.locals(count=_Count)
    cpdef saw(self, exchange)
    @cython.locals(token=_Token, count=_Count)
    cpdef _count(self, fingerprint, address, at)
