cdef class ExchangeLog:
    cdef public object _sink, _encode, _prefix
    cdef public long long _second
