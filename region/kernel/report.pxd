"""What Python is told of a path, for whoever has a path to tell of."""

from region.kernel.path cimport PathReport as Told


cdef object report_of(const Told *report)
