cdef class Familiar:
    cdef public Py_ssize_t size, count
    cdef public list before, after
    cdef public object host, connection, length, agent
    cdef public bint keep_alive, sized, stands
    cdef public object written, written_for
