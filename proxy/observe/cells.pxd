cdef class Count:
    cdef public object value, incident, at

cdef class Spread:
    cdef public list counts
    cdef public double total
    cpdef observe(self, double seconds)
