from proxy.observe.sink cimport Sink

cdef class ExchangeLog:
    cdef public object _encode, _prefix
    cdef public Sink _sink
    cdef public long long _second
    cpdef write(self, exchange)
