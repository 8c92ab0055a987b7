from proxy.core.familiar cimport Familiar

cdef class Heads:
    cdef public bytes held
    cdef public object _limits
    cdef public Py_ssize_t _end, _scanned
    cdef public bint _skipped
    cpdef bint ready(self)
    cpdef take(self)
