cdef class _Row:
    cdef public object decisions, duration, requests, upstream
    cdef public bint denied, unauthorized
