cimport cython

from proxy.edge.client_connection cimport ClientConnection
from proxy.edge.forward cimport Forwarder, Sending
from proxy.edge.handler cimport Handler
from proxy.edge.passage cimport Passage

cdef class Express:
    cdef public Forwarder _forwarder
    cdef public Handler _handler
    cdef public object _report
    @cython.locals(passage=Passage, flight=_Flight)
    cpdef depart(self, ClientConnection client, request)

cdef class _Flight:
    cdef public ClientConnection _client
    cdef public Forwarder _forwarder
    cdef public Handler _handler
    cdef public Passage _passage
    cdef public Sending _sending
    cdef public object _error, _report, _request
    cdef public double _started
    @cython.locals(client=ClientConnection, sending=Sending)
    cpdef depart(self)
    @cython.locals(client=ClientConnection, sending=Sending)
    cpdef _arrived(self)
    cpdef bint _ordinary(self, answer)
    cpdef _land(self)
