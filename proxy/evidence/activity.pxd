cimport cython

cdef class Hour:
    cdef public object tenant, minutes, field
    cdef public object hour
    cdef public bint dirty
    cpdef count(self, minute, exchange)

cdef class Last:
    cdef public double at
    cdef public object answered_by, fingerprint, incident, operation, reason, status, user_agent
    cdef public bint dirty
    cpdef take(self, exchange)

cdef class Activity:
    cdef public object _store, _process, _field, _instance, _keep, _clock, _current, _everyone, _dirty, _last, _last_dirty
    cdef public Py_ssize_t _minute, _hour, _turned_back, requests, dropped
    cdef public object lost_until
    @cython.locals(own=Hour, hour=Hour, last=Last)
    cpdef saw(self, exchange)
