# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What Python is woken for, and finds when it looks: it looks at times of its own otherwise.

Contracts stand in `alerts.pyi`. The pump goes through the tables a few times a second while Python
does not, so that it need not where nothing has happened.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from region.kernel.entries cimport *
from region.kernel.path cimport path_alarms
from region.kernel.system cimport fair_acquire, fair_release, monotonic_ns
from region.kernel.tables cimport *
from region.kernel.transports cimport *

ALIVE_S = ALIVE_NS / 1e9

cdef enum:
    SWEEP_NS = 200_000_000
    LATE_NS = 50_000_000  # by which Python's next look may be late, if it looks as often as that
    SWEPT_AT_ONCE = 128  # of each table: packets wait meanwhile

    MAX_CHANGED = 1024  # named at once; the others are at the next look


cdef inline bint is_perceptible(const Stream *stream, int64_t now_ns) noexcept nogil:
    return (
        stream.packets != 0 and now_ns - stream.last_ns < ALIVE_NS
        and (stream.video or is_heard(stream))
    )


cdef inline bint has_changed(const Stream *stream, int64_t now_ns) noexcept nogil:
    """Since that was told last."""
    cdef bint perceptible = is_perceptible(stream, now_ns)
    return perceptible != stream.perceptible or (
        perceptible and stream.video and stream.payload != stream.told_payload
    )


cdef inline bint awaits_keyframe(const Egress *egress) noexcept nogil:
    """Whether it has a path and waits for one, of another stream or another layer."""
    if egress.wanted == NONE or not egress.video:
        return False
    if egress.wanted == egress.stream and (egress.frames == NULL or not egress.frames.waiting):
        return False
    return can_send(egress.transport)


cdef class Alerts(Tables):
    cdef void _stir(self) noexcept nogil:
        """Wake Python, which looks at times of its own otherwise."""
        self.unheard = self.queued = True

    cdef void _begin(self, uint32_t stream_handle) noexcept nogil:
        if self.begun_count < MAX_BEGUN:
            self.begun[self.begun_count] = stream_handle
            self.begun_count += 1
        self._stir()

    cdef void _sweep(self, int64_t now_ns) noexcept nogil:
        """Go on through the tables, or begin anew after a while."""
        cdef uint32_t end
        if self.sweep_at == 0:
            if now_ns - self.swept_ns < SWEEP_NS:
                return
            self.swept_ns = now_ns
        end = self.sweep_at + SWEPT_AT_ONCE
        while self.sweep_at < end:
            if self._is_news(self.sweep_at, now_ns):
                self._stir()
            self.sweep_at += 1
        if self.sweep_at >= max(self.streams_used, max(self.egresses_used, self.transports_used)):
            self.sweep_at = 0

    cdef bint _is_news(self, uint32_t handle, int64_t now_ns) noexcept nogil:
        """Whether Python is to look at the stream, egress or transport of that number."""
        cdef Stream *stream
        cdef Egress *egress
        cdef Transport *transport
        cdef bint is_news = False, awaits
        if handle < self.streams_used and self.streams[handle] != NULL:
            stream = self.streams[handle]
            # That nobody speaks any more can wait for a look.
            is_news |= stream.video and has_changed(stream, now_ns)
        if handle < self.egresses_used and self.egresses[handle] != NULL:
            egress = self.egresses[handle]
            awaits = awaits_keyframe(egress)
            is_news |= awaits and not egress.awaiting
            egress.awaiting = awaits
        if handle < self.transports_used and self.transports[handle] != NULL:
            transport = self.transports[handle]
            # Of paths that do not carry all that is wanted Python reads by itself.
            is_news |= transport.path != NULL and path_alarms(transport.path, now_ns)
        return is_news

    # ---- what Python reads

    def news(self):
        """Streams that have begun since the last call; None when all can wait for a look."""
        cdef uint32_t begun[MAX_BEGUN]
        cdef int i, count
        cdef bint news
        with nogil:
            fair_acquire(&self.lock)
            news, count = self.unheard, self.begun_count
            memcpy(begun, self.begun, count * sizeof(uint32_t))
            self.unheard, self.begun_count = False, 0
            fair_release(&self.lock)
        return frozenset([begun[i] for i in range(count)]) if news else None

    def changed_streams(self, double now_s):
        """Streams that have become perceptible, or are no more, or others, since named last."""
        cdef uint32_t found[MAX_CHANGED]
        cdef int count = 0
        cdef uint32_t i
        cdef Stream *stream
        cdef int64_t now_ns = <int64_t>(now_s * 1e9)
        with nogil:
            fair_acquire(&self.lock)
            self.sweep_at = 0  # the rest is looked at now
            self.swept_ns = monotonic_ns() + LATE_NS
            for i in range(self.streams_used):
                stream = self.streams[i]
                if stream == NULL:
                    continue
                if has_changed(stream, now_ns):
                    stream.perceptible = is_perceptible(stream, now_ns)
                    stream.told_payload = stream.payload
                    found[count] = i
                    count += 1
                    if count == MAX_CHANGED:
                        break
            fair_release(&self.lock)
        return frozenset([found[j] for j in range(count)])

    def awaiting(self):
        """Egresses that have a path and wait for a keyframe, of another stream or another layer."""
        cdef uint32_t *found
        cdef uint32_t count = 0, i
        cdef Egress *egress
        with nogil:
            fair_acquire(&self.lock)
            found = <uint32_t *>malloc(max(<uint32_t>1, self.egresses_used) * sizeof(uint32_t))
            for i in range(self.egresses_used if found != NULL else 0):
                egress = self.egresses[i]
                if egress == NULL:
                    continue
                egress.awaiting = awaits_keyframe(egress)
                if egress.awaiting:
                    found[count] = i
                    count += 1
            fair_release(&self.lock)
        if found == NULL:
            raise MemoryError
        try:
            return [found[i] for i in range(count)]
        finally:
            free(found)
