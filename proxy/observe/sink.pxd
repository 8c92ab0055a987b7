cdef class Sink:
    cdef public object dropped, _destination, _limit, _buffer, _writing, _owned, _fd, _is_file
    cdef object __weakref__
    cpdef append(self, line)
