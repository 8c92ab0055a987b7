cimport cython

from proxy.evidence.token_memory cimport Token

cdef class History:
    cdef public object _store, _instance, _keep, _good_limit, _other_limit, _clock, _good, _other, _dirty, _urgent, _to_load, _learned, _former, _began, _new_good
    @cython.locals(token=Token)
    cpdef saw(self, exchange)
    cpdef _touch(self, Token token)
