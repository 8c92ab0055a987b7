cdef dict _KINDS
