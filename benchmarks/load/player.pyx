# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""When what leaves: senders play their scripts, and pictures are paced.

Contracts stand in `player.pyi`. All of it runs without the GIL, under the tables' lock.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free

from benchmarks.load.agenda cimport *
from benchmarks.load.entries cimport *
from benchmarks.load.packer cimport Packer
from region.kernel.system cimport *
from relay.errors import LocalProtocolError

cdef enum:
    BURST_NS = 40_000_000  # what libwebrtc's pacer lets go at once, at the paced rate
    TOO_LATE_NS = 500_000_000  # a frame that is so late is left out: the machine is overloaded


cdef inline int64_t due_ns(const Sender *sender) noexcept nogil:
    """When its next frame is."""
    return sender.cycle_at_ns + sender.script.frame[sender.next].offset_ns


cdef inline void step(Sender *sender) noexcept nogil:
    sender.next += 1
    if sender.next == sender.script.frames:
        sender.next = 0
        sender.cycle_at_ns += sender.script.cycle_ns


cdef inline void seek(Sender *sender, int64_t now_ns) noexcept nogil:
    """Where the script is by now, were it played all the time."""
    cdef int64_t cycles = (now_ns - sender.cycle_at_ns) // sender.script.cycle_ns
    cdef uint32_t low = 0, high = sender.script.frames, middle
    cdef int64_t offset_ns
    if cycles > 0:
        sender.cycle_at_ns += cycles * sender.script.cycle_ns
    offset_ns = now_ns - sender.cycle_at_ns
    while low < high:
        middle = (low + high) // 2
        if sender.script.frame[middle].offset_ns < offset_ns:
            low = middle + 1
        else:
            high = middle
    sender.next = low
    if low == sender.script.frames:
        sender.next = 0
        sender.cycle_at_ns += sender.script.cycle_ns


cdef class Player(Packer):
    def __dealloc__(self):
        free(self.agenda.heap)
        free(self.agenda.place)
        free(self.agenda.due_ns)

    cdef void _forgotten(self, Client *client) noexcept nogil:
        if client.handle < self.agenda.room:
            agenda_set(&self.agenda, client.handle, NEVER_NS)

    # ---- what Python decides

    def play(self, uint32_t sender, uint32_t script, int64_t phase_us=0):
        """Play a script again and again from now on, from so far into its cycle."""
        cdef Sender *of
        cdef bint known
        cdef int64_t now_ns = monotonic_ns()
        with nogil:
            fair_acquire(&self.lock)
            of = self.sender_of(sender)
            known = script < self.scripts_used
            if of != NULL and known:
                of.script = self.scripts[script]
                of.cycle_at_ns = now_ns - phase_us * 1_000 % of.script.cycle_ns
                of.left_packets = 0
                self._resume(of, now_ns)
            fair_release(&self.lock)
        if of == NULL or not known:
            raise LocalProtocolError(f"there is no sender {sender} or no script {script}")

    def set_active(self, uint32_t sender, bint active):
        """Whether its person sends it; it begins, and goes on, with a keyframe."""
        self._switch(sender, active, False)

    def set_wanted(self, uint32_t sender, bint wanted):
        """Whether the bridge wants it; what nobody wants is not sent, as browsers do it."""
        self._switch(sender, wanted, True)

    cdef _switch(self, uint32_t handle, bint on, bint by_bridge):
        cdef Sender *of
        cdef bint played
        cdef int64_t now_ns = monotonic_ns()
        with nogil:
            fair_acquire(&self.lock)
            of = self.sender_of(handle)
            if of != NULL:
                played = is_playing(of)
                if by_bridge:
                    of.wanted = on
                else:
                    of.active = on
                if is_playing(of) and not played:
                    self._resume(of, now_ns)
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no sender {handle}")

    cdef void _resume(self, Sender *sender, int64_t now_ns) noexcept nogil:
        if not is_playing(sender):
            return
        seek(sender, now_ns)
        sender.keyframe_wanted = True
        sender.left_packets = 0
        if agenda_grow(&self.agenda, sender.client + 1):
            agenda_set(&self.agenda, sender.client, now_ns)

    def pace(self, uint32_t client, int64_t rate_bps):
        """How fast its pictures leave; 0 for each frame at once."""
        cdef Client *of
        with nogil:
            fair_acquire(&self.lock)
            of = self.client_of(client)
            if of != NULL:
                of.ns_a_byte = 8e9 / rate_bps if rate_bps else 0
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no client {client}")

    def silence(self, uint32_t client):
        """It says nothing more by itself, and goes on listening."""
        cdef Client *of
        cdef uint32_t i
        with nogil:
            fair_acquire(&self.lock)
            of = self.client_of(client)
            if of != NULL:
                of.feedback = of.reports = of.nacks = of.plis = False
                for i in range(of.senders):
                    of.sender[i].active = False
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no client {client}")

    # ---- media

    cdef void _play_due(self, int64_t now_ns) noexcept nogil:
        """All that is to leave by now."""
        cdef uint32_t handle
        while self.agenda.count and agenda_next_ns(&self.agenda) <= now_ns:
            handle = self.agenda.heap[0]
            agenda_set(&self.agenda, handle, self._play(self.clients[handle], now_ns))

    cdef int64_t _play(self, Client *client, int64_t now_ns) noexcept nogil:
        """What one client is to send by now; when it has more."""
        cdef uint32_t i
        cdef int64_t next_ns = NEVER_NS
        cdef Sender *sender
        cdef Sender *first
        for i in range(client.senders):
            sender = client.sender[i]
            if sender.kind == AUDIO and is_playing(sender):
                while due_ns(sender) <= now_ns and self._begin(sender, now_ns):
                    while sender.left_packets:
                        self._send_packet(client, sender, now_ns)
                next_ns = min(next_ns, due_ns(sender))
        while True:
            first = NULL  # of the frames that are leaving, the oldest
            for i in range(client.senders):
                sender = client.sender[i]
                if sender.kind != VIDEO or not is_playing(sender):
                    continue
                if sender.left_packets == 0 and due_ns(sender) <= now_ns:
                    self._begin(sender, now_ns)
                if sender.left_packets and (first == NULL or sender.frame_ns < first.frame_ns):
                    first = sender
            if first == NULL:
                break
            if client.ns_a_byte and client.paced_ns - now_ns > BURST_NS:
                next_ns = min(next_ns, client.paced_ns - BURST_NS)
                break
            self._send_packet(client, first, now_ns)
        for i in range(client.senders):
            sender = client.sender[i]
            if sender.kind == VIDEO and is_playing(sender) and sender.left_packets == 0:
                next_ns = min(next_ns, due_ns(sender))
        self._flush(client)
        return next_ns

    cdef bint _begin(self, Sender *sender, int64_t now_ns) noexcept nogil:
        """The next frame begins to leave; False when the time for it is over."""
        cdef const ScriptFrame *frame
        cdef uint32_t bytes
        if now_ns - due_ns(sender) > TOO_LATE_NS:
            while due_ns(sender) < now_ns:
                sender.skipped += 1
                step(sender)
            return False
        frame = &sender.script.frame[sender.next]
        sender.frame_ns = due_ns(sender)
        bytes = frame.bytes
        if sender.kind == VIDEO:
            sender.sync = frame.temporal == 1 or sender.temporal == 0
            sender.temporal = frame.temporal
            sender.keyframe = frame.keyframe or sender.keyframe_wanted
            if sender.keyframe:
                sender.keyframe_wanted = False
                sender.temporal = 0
                sender.keyframes += 1
                if not frame.keyframe and sender.script.keyframe_bytes:
                    bytes = sender.script.keyframe_bytes
            sender.picture = (sender.picture + 1) & 0x7FFF
            if sender.temporal == 0:
                sender.base += 1
        sender.level = frame.level
        sender.left_bytes = bytes
        sender.left_packets = max(
            <uint32_t>1, (bytes + sender.script.packet_bytes - 1) // sender.script.packet_bytes
        )
        sender.packet = 0
        sender.frames += 1
        step(sender)
        return True
