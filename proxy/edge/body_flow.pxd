cdef class BodyFlow:
    cdef public object _client, _connection, _copy
    cdef public bint _chunked, _upload_done
    cdef public double _head_timeout
    cdef public Py_ssize_t _size
    cpdef _write(self, octets)
    cpdef _finish(self)
    cpdef _due(self)
