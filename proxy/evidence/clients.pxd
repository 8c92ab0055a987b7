cimport cython

cdef class _Client:
    cdef public object tenants, without_since

cdef class Clients:
    cdef public object _limit, _clients
    @cython.locals(client=_Client)
    cpdef saw(self, exchange)
