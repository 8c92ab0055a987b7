cdef class Token:
    cdef public object base, changes, client, client_key, clients, counts, failing_since, fingerprint
    cdef public object first_bad, first_good, first_seen, last_bad, last_bad_reason, last_good, last_good_address, last_good_operation, last_reading, last_seen, others, tenant
    cdef public bint dirty, good, loaded, loading
    cdef public double dirty_since
    cpdef count(self, key)
