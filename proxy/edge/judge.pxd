cdef class Judge:
    cdef public object _tokens, _policy
    cpdef from_memory(self, credential, operation)
    cpdef _judge(self, held, operation, first)
