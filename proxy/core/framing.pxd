cdef class Length:
    cdef public bint done
    cdef public object left, remaining
    cpdef feed(self, data)

cdef class UntilClose:
    cdef public bint done
    cdef public object left

cdef class Chunked:
    cdef public bint done, _in_trailer, _lenient
    cdef public object left, _held
    cdef public Py_ssize_t _remaining, _trailer_size
