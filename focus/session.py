"""One participant's session with the focus: what it may ask, and the notices it gets."""

from collections.abc import Mapping
from typing import Protocol

import trio

from focus.events import Event, Join, Leave, MuteChanged, OfferReceived, ViewChanged
from focus.notices import Notice
from focus.placement import Wish
from relay.control import Picture, View
from relay.errors import RemoteProtocolError
from relay.ids import ConferenceId, ParticipantId, SourceKind

NOTICE_BACKLOG = 2_048
"""Notices for a browser that does not read; a full room that loses its bridge makes 500 at once."""


class SessionHost(Protocol):
    """The part of the focus that a session needs."""

    def handle(self, event: Event) -> None:
        """Applies an event and carries out what follows, before it returns."""

    def seat(self, session: "Session") -> ParticipantId:
        """A fresh number, whose notices go to that session."""

    def has_joined(self, conference: ConferenceId, participant: ParticipantId) -> bool:
        """Whether that participant is in that conference."""

    def unseat(self, participant: ParticipantId) -> None:
        """No notices for that number any more."""


class Session:
    """A context manager; leaving it leaves the conference.

    Methods return at once: what comes of them arrives in `notices`, which end when the focus
    cuts the session off for not reading. A method raises RemoteProtocolError where the
    participant asks for what it may not at this point.
    """

    def __init__(self, host: SessionHost) -> None:
        self._host = host
        self._send, self.notices = trio.open_memory_channel[Notice](NOTICE_BACKLOG)
        self._seat: tuple[ConferenceId, ParticipantId] | None = None
        self._refused = False
        self._closed = False

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def join(self, conference: ConferenceId, name: str, wish: Wish) -> None:
        """Asks for a seat; after a refusal one may ask again."""
        if self._closed:
            return
        if self._seat is not None:
            raise RemoteProtocolError("you have joined already")
        participant = self._host.seat(self)
        self._host.handle(
            Join(conference=conference, participant=participant, name=name, wish=wish)
        )
        if self._host.has_joined(conference, participant):
            self._seat = conference, participant
        else:
            self._host.unseat(participant)
            self._refused = True

    def offer(
        self, attempt: int, sdp: str, sources: Mapping[str, SourceKind], *, renews: bool = False
    ) -> None:
        """Offers a transport for the media sections and kinds of `sources`, or renews the last."""
        if seat := self._joined():
            self._host.handle(
                OfferReceived(
                    conference=seat[0],
                    participant=seat[1],
                    attempt=attempt,
                    sdp=sdp,
                    sources=dict(sources),
                    renews=renews,
                    now=trio.current_time(),
                )
            )

    def mute(self, kind: SourceKind, *, muted: bool) -> None:
        """Stops a source or goes on with it."""
        if seat := self._joined():
            self._host.handle(
                MuteChanged(conference=seat[0], participant=seat[1], kind=kind, muted=muted)
            )

    def view(
        self, pictures: tuple[Picture, ...] | None, last_n: int | None, height_px: int
    ) -> None:
        """Asks for these pictures, as `relay.control.View` has it."""
        if seat := self._joined():
            view = View(
                conference=seat[0],
                participant=seat[1],
                pictures=pictures,
                last_n=last_n,
                height_px=height_px,
            )
            self._host.handle(ViewChanged(view=view))

    def close(self) -> None:
        """Leaves; may be called twice."""
        self._closed = True
        self._send.close()
        if self._seat is not None:
            (conference, participant), self._seat = self._seat, None
            self._host.unseat(participant)
            self._host.handle(Leave(conference=conference, participant=participant))

    def deliver(self, notice: Notice) -> bool:
        """For the focus: queues a notice; False when the participant reads too slowly."""
        try:
            self._send.send_nowait(notice)
        except trio.WouldBlock:
            return False
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # it is leaving
        return True

    def _joined(self) -> tuple[ConferenceId, ParticipantId] | None:
        """The seat; None where messages followed a `join` that was refused, and mean nothing."""
        if self._seat is None and not self._refused and not self._closed:
            raise RemoteProtocolError("join first")
        return self._seat
