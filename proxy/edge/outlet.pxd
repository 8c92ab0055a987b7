cdef class Outlet:
    cdef public object _loop, _transport
    cdef public bytes _unsent
    cpdef flush(self)
