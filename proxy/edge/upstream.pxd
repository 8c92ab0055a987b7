cimport cython

from proxy.edge.backend_connection cimport BackendConnection

cdef class Upstream:
    cdef public object options, _deadlines, _limits, _idle, _waiting
    cdef public Py_ssize_t _open, _called
    cdef public bint _closed
    cpdef bint has_idle(self)
    cpdef take_idle(self, bint writes)
    @cython.locals(connection=BackendConnection)
    cpdef _take(self, bint writes)
    cpdef _call_next(self)
    cpdef release(self, BackendConnection connection)
