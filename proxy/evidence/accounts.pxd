cdef class Accounts:
    cdef public object _limit, _changed
    cpdef saw(self, exchange)
