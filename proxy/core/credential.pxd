cdef class Fingerprinter:
    cdef public object _former, _key, _old, _young

cdef class Secret:
    cdef public bytes _raw
    cdef public object fingerprint
