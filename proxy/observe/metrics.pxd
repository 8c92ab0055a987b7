from proxy.observe.cells cimport Count, Spread

cdef class _Row:
    cdef public Count decisions, requests
    cdef public Spread duration, upstream
    cdef public bint denied, unauthorized
