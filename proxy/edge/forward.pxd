cdef class Sending:
    cdef public object answer, connection, flow, head
    cdef public bint held

cdef class Forwarder:
    cdef public object _upstream, _forwarding, _default_host
