cdef class TenantNames:
    cdef public dict _names
    cdef public object _overflow
    cdef public Py_ssize_t _room
    cdef public bint _enabled
    cpdef name(self, tenant)
