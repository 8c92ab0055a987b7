cdef class Express:
    cdef public object _handler, _forwarder, _report

cdef class _Flight:
    cdef public object _client, _error, _forwarder, _handler, _passage, _report, _request, _sending
    cdef public double _started
    cpdef _ordinary(self, answer)
    cpdef _land(self)
