cdef class _Turn:
    cdef public list _waiting
    cpdef join(self, Outlet outlet, loop)

cdef class Outlet:
    cdef public object _loop, _transport
    cdef public _Turn _turn
    cdef public bytes _unsent
    cpdef write(self, data)
    cpdef flush(self)
    cpdef drop(self)
