"""Who has something to send when: a heap of handles by time, each in it at most once."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc

cdef enum:
    NEVER_NS = 0x7FFFFFFFFFFFFFFF

cdef struct Agenda:
    uint32_t *heap  # handles, the earliest first
    uint32_t *place  # by handle: where in the heap it is, plus one; 0 where it is not
    int64_t *due_ns  # by handle
    uint32_t count, room


cdef inline bint agenda_grow(Agenda *agenda, uint32_t handles) noexcept nogil:
    """Room for handles below this."""
    cdef uint32_t room = 2 * handles, i
    cdef void *grown
    if handles <= agenda.room:
        return True
    grown = realloc(agenda.heap, room * sizeof(uint32_t))
    if grown == NULL:
        return False
    agenda.heap = <uint32_t *>grown
    grown = realloc(agenda.place, room * sizeof(uint32_t))
    if grown == NULL:
        return False
    agenda.place = <uint32_t *>grown
    grown = realloc(agenda.due_ns, room * sizeof(int64_t))
    if grown == NULL:
        return False
    agenda.due_ns = <int64_t *>grown
    for i in range(agenda.room, room):
        agenda.place[i] = 0
    agenda.room = room
    return True


cdef inline int64_t agenda_next_ns(const Agenda *agenda) noexcept nogil:
    return agenda.due_ns[agenda.heap[0]] if agenda.count else NEVER_NS


cdef inline void agenda_put(Agenda *agenda, uint32_t at, uint32_t handle) noexcept nogil:
    agenda.heap[at] = handle
    agenda.place[handle] = at + 1


cdef inline void agenda_rise(Agenda *agenda, uint32_t at) noexcept nogil:
    cdef uint32_t handle = agenda.heap[at], parent
    while at:
        parent = (at - 1) // 2
        if agenda.due_ns[agenda.heap[parent]] <= agenda.due_ns[handle]:
            break
        agenda_put(agenda, at, agenda.heap[parent])
        at = parent
    agenda_put(agenda, at, handle)


cdef inline void agenda_sink(Agenda *agenda, uint32_t at) noexcept nogil:
    cdef uint32_t handle = agenda.heap[at], child
    while True:
        child = 2 * at + 1
        if child >= agenda.count:
            break
        if (
            child + 1 < agenda.count
            and agenda.due_ns[agenda.heap[child + 1]] < agenda.due_ns[agenda.heap[child]]
        ):
            child += 1
        if agenda.due_ns[agenda.heap[child]] >= agenda.due_ns[handle]:
            break
        agenda_put(agenda, at, agenda.heap[child])
        at = child
    agenda_put(agenda, at, handle)


cdef inline void agenda_set(Agenda *agenda, uint32_t handle, int64_t due_ns) noexcept nogil:
    """When it is due from now on; NEVER_NS takes it out."""
    cdef uint32_t at = agenda.place[handle]
    if at == 0:
        if due_ns == NEVER_NS:
            return
        at = agenda.count
        agenda.count += 1
        agenda.due_ns[handle] = due_ns
        agenda_put(agenda, at, handle)
        agenda_rise(agenda, at)
        return
    at -= 1
    if due_ns == NEVER_NS:
        agenda.place[handle] = 0
        agenda.count -= 1
        if at == agenda.count:
            return
        agenda_put(agenda, at, agenda.heap[agenda.count])
    else:
        agenda.due_ns[handle] = due_ns
    agenda_rise(agenda, at)
    agenda_sink(agenda, at)
