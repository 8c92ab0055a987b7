from proxy.edge.backend_connection cimport BackendConnection
from proxy.edge.client_connection cimport ClientConnection

cdef class BodyFlow:
    cdef public BackendConnection _connection
    cdef public ClientConnection _client
    cdef public object _copy
    cdef public bint _chunked, _upload_done
    cdef public double _head_timeout
    cdef public Py_ssize_t _size
    cpdef begin(self, BackendConnection connection)
    cpdef _write(self, octets)
    cpdef _finish(self)
    cpdef _due(self)
