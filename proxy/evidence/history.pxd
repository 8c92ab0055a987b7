cdef class History:
    cdef public object _store, _instance, _keep, _good_limit, _other_limit, _clock, _good, _other, _dirty, _urgent, _to_load, _learned, _former, _began, _new_good
    cpdef _touch(self, token)
