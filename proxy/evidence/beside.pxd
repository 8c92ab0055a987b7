cdef class Beside:
    cdef public object clients, _backends, _accounts, _record, _failed, _delays, _clock, _served, _due, _order, _bare
    cdef public Py_ssize_t unrecorded
