cdef class Handler:
    cdef public Py_ssize_t inflight
    cdef public object _requests, _refusals, _oauth, _options, _policy, _fingerprinter, _judge, _forwarder, _witness, _peers, _tenant_of_route, _report, _prefix, _counter
    cpdef _passage(self, client, request)
    cpdef _credential(self, client, request)
    cpdef _operation(self, request)
