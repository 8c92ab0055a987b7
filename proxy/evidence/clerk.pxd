cdef class Clerk:
    cdef public object _witness, _folder, _history, _rereader, _surveyor, _sinks, _beside, _events, _hurry, _bus, _aliases
