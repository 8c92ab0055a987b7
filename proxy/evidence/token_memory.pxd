cdef class Use:
    cdef public double first, last
    cdef public Py_ssize_t times

cdef class Token:
    cdef public bint dirty, good, loaded, loading
    cdef public double last_seen, last_good
    cdef public Py_ssize_t kind_times
    cdef public Use client
    cdef public object first_seen, first_good, failing_since, last_good_address, last_good_operation, tenant, kind, client_key
    cdef public object clients, counts, base, changes, fingerprint, first_bad, last_bad, last_bad_reason, last_reading, others
    cdef public double dirty_since
    cpdef count(self, kind)
    cpdef _count_in(self)
    cpdef used_by(self, user_agent, address, double at)
