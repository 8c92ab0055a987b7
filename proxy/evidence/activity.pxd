cimport cython

cdef class Hour:
    cdef public object tenant, minutes
    cdef public object hour
    cdef public bint dirty
    cpdef count(self, minute, exchange)

cdef class Activity:
    cdef public object _store, _field, _instance, _keep, _clock, _current, _everyone, _dirty, _last, _last_dirty
    cdef public Py_ssize_t _minute, _hour, requests, dropped
    @cython.locals(own=Hour, hour=Hour)
    cpdef saw(self, exchange)
