from proxy.core.heads cimport Heads
from proxy.edge.outlet cimport Outlet

cdef class ClientConnection:
    cdef public object peer, address, backend, body, presented, fault, task, flight
    cdef public bint keep, gone, answer_started
    cdef public Py_ssize_t body_octets
    cdef public object _owner, _deadlines, _times, _peer_of, _loop, _transport, _waiter, _request, _sink, _lost, _writable
    cdef public Heads _heads
    cdef public Outlet _outlet
    cdef public bint _tls, _idle, _landed, _stopped, _unread, _eof, _ending, _held_back, _reading_paused, _writing_paused
    cdef public Py_ssize_t _lingering, _unwritten
    cdef public double _patience, _read_deadline, _write_deadline
    cdef object __weakref__
    cpdef _await_head(self)
    cpdef _take(self)
    cpdef _depart(self)
    cpdef _end_request(self)
    cpdef _wake(self)
    cpdef _read_head(self, data)
    cpdef _read_body(self, data)
    cpdef landed(self)
    cpdef walk_on(self)
    cpdef flow(self, sink)
    cpdef write(self, data)
    cpdef hold_back(self)
    cpdef go_on(self)
