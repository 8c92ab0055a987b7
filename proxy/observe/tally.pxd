cimport cython

from proxy.observe.cells cimport Count, Spread
from proxy.observe.tenant_names cimport TenantNames

cdef class _Row:
    cdef public Count decisions, requests
    cdef public Spread duration, upstream
    cdef public bint denied, unauthorized

cdef class Tally:
    cdef public TenantNames _tenants
    cdef public object _counts, _spreads
    cdef public dict _rows, last
    @cython.locals(row=_Row, spread=Spread)
    cpdef saw(self, exchange)
