cdef dict _WRITTEN

cdef class Passage:
    cdef public object id, request, client, operation, credential, judgement, route_tenant, status, answered_by, fault
    cdef public object incident, gathered, hidden, oauth, backend
    cdef public bint observed
    cdef public double at, started, lookup_seconds, backend_seconds
    cdef public Py_ssize_t attempts, bytes_in, bytes_out
    cpdef answered(self, by, status)
    cpdef tenant(self, witness)
    cpdef exchange(self, tenant)
    cpdef _texts(self)
    cpdef _credential_shape(self)
    cpdef clean(self, raw)
    cpdef _secrets(self)
