cdef class Held:
    cdef public object previous, reading, state
    cdef public double _clock, dispute, last_used, mono
    cdef public bint confirmed, used
