from proxy.edge.outlet cimport Outlet

cdef class BackendConnection:
    cdef public double deadline, idle_since
    cdef public object address, exchanges, on_drain, outcome
    cdef public bint made, write_paused
    cdef public object _deadlines, _limits, _on_lost, _transport, _loop, _poll, _buffer, _method, _interims
    cdef public Outlet _outlet
    cdef public bint _due, _lost, _dirty, _reading_paused
    cdef public object _head, _told, _decoder, _answer, _early, _sink, _end, _fault, _peek
    cdef public Py_ssize_t _early_size, _peek_size
    cdef public double _body_timeout
    cdef object __weakref__
    cpdef _settle(self, outcome)
    cpdef _read_head(self, data)
    cpdef _begin_body(self, answer, rest)
    cpdef _body(self, data)
    cpdef _deliver(self, octets)
    cpdef _finish(self, fault)
    cpdef close(self)
    cpdef bint fit_to_carry(self)
    cpdef double rested(self)
    cpdef send(self, head, method, double patience)
    cpdef write(self, data)
    cpdef answer_due(self, double seconds)
    cpdef bint tell(self, settled)
    cpdef take_early(self, double body_timeout)
    cpdef bint reusable(self)
    cpdef rest(self, double idle_timeout)
