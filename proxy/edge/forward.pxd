cimport cython

from proxy.edge.backend_connection cimport BackendConnection
from proxy.edge.body_flow cimport BodyFlow
from proxy.edge.client_connection cimport ClientConnection
from proxy.edge.passage cimport Passage
from proxy.edge.upstream cimport Upstream

cdef class Sending:
    cdef public BackendConnection connection
    cdef public BodyFlow flow
    cdef public object answer, head
    cdef public bint held

cdef class Forwarder:
    cdef public Upstream _upstream
    cdef public object _forwarding, _default_host
    cpdef prepare(self, ClientConnection client, request, gathered=*)
    cpdef bint has_idle(self)
    cpdef bint take_idle(self, Sending sending, method)
    @cython.locals(connection=BackendConnection)
    cpdef begin(self, ClientConnection client, Passage passage, Sending sending, method)
    cpdef _drop(self, ClientConnection client, Sending sending)
    @cython.locals(connection=BackendConnection)
    cpdef end(self, ClientConnection client, Sending sending)
    cpdef abandon(self, ClientConnection client, Sending sending)
    cpdef deliver(self, ClientConnection client, request, Passage passage, Sending sending, lines, seen=*)
