cimport cython

from proxy.sources.held cimport Held

cdef class Fresh:
    cdef public object source, _tasks, _options, _on_change, _monotonic, _sleep, _known, _negative, _former, _reading, _looking
    cdef public object _bucket, _away, _silent
    cdef public Py_ssize_t _hits, _misses, _negative_hits, _evictions, _second_looks, _rationed, _changes
    cdef public double _refresh_seconds
    @cython.locals(held=Held)
    cpdef held(self, fingerprint)
