cdef dict _LINES, _NAMES
