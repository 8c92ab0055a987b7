cdef class Judge:
    cdef public object _tokens, _policy
    cpdef _judge(self, held, operation, first)
