cimport cython

from proxy.edge.client_connection cimport ClientConnection
from proxy.edge.forward cimport Forwarder
from proxy.edge.judge cimport Judge
from proxy.edge.passage cimport Passage

cdef class Handler:
    cdef public Py_ssize_t inflight
    cdef public Forwarder _forwarder
    cdef public Judge _judge
    cdef public object _requests, _refusals, _oauth, _options, _policy, _fingerprinter, _witness, _peers, _tenant_of_route, _report, _prefix, _counter
    @cython.locals(passage=Passage)
    cpdef ordinary(self, ClientConnection client, request)
    cpdef finish(self, ClientConnection client, Passage passage)
    @cython.locals(passage=Passage)
    cpdef _passage(self, ClientConnection client, request)
    cpdef _credential(self, ClientConnection client, request)
    cpdef _operation(self, request)
