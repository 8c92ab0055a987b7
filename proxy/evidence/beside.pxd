from proxy.evidence.accounts cimport Accounts
from proxy.evidence.backends cimport Backends
from proxy.evidence.clients cimport Clients

cdef class Beside:
    cdef public Accounts _accounts
    cdef public Backends _backends
    cdef public Clients clients
    cdef public object _record, _failed, _delays, _clock, _served, _due, _order, _bare
    cdef public Py_ssize_t unrecorded
    cpdef saw(self, exchange)
