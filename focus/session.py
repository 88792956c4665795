"""One participant's session with the focus: what it may ask, and the notices it gets."""

import secrets
from collections.abc import Mapping
from typing import Protocol

import trio

from focus.events import Event, Join, Leave, MuteChanged, OfferReceived, Resume, ViewChanged
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

    def take_over(
        self, secret: str, conference: ConferenceId, session: "Session"
    ) -> ParticipantId | None:
        """The number of who holds that secret there, whose notices go to `session` from now on."""

    def linger(self, session: "Session") -> None:
        """Closes that session in a while, unless another one takes it over."""

    def unseat(self, participant: ParticipantId) -> None:
        """No notices for that number any more."""


class Session:
    """A context manager; leaving it leaves the conference, unless it lingers.

    Methods return at once: what comes of them arrives in `notices`, which end when the focus
    cuts the session off for not reading, and when another session takes its seat. A method
    raises RemoteProtocolError where the participant asks for what it may not at this point.
    """

    def __init__(self, host: SessionHost) -> None:
        self.secret = secrets.token_urlsafe(18)
        """Who knows it may take the seat; one participant's, whichever session it has."""
        self._host = host
        self._send, self.notices = trio.open_memory_channel[Notice](NOTICE_BACKLOG)
        self._seat: tuple[ConferenceId, ParticipantId] | None = None
        self._refused = False
        self._closed = False
        self._lingers = False

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._lingers:
            self.close()

    def join(
        self, conference: ConferenceId, name: str, wish: Wish, resume: str | None = None
    ) -> None:
        """Asks for a seat; after a refusal one may ask again.

        With `resume`, another session's secret, it takes the seat of that one, if it is there.
        """
        if self._closed:
            return
        if self._seat is not None:
            raise RemoteProtocolError("you have joined already")
        earlier = self._host.take_over(resume, conference, self) if resume else None
        if resume and earlier is not None:
            self.secret = resume
            self._seat = conference, earlier
            self._host.handle(Resume(conference=conference, participant=earlier))
            return
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

    def linger(self) -> None:
        """Nobody reads here any more, but the participant may be back in a moment."""
        self._closed = self._lingers = True
        self._send.close()
        if self._seat is not None:
            self._host.linger(self)

    def yield_seat(self, conference: ConferenceId) -> ParticipantId | None:
        """For the focus: the seat there is another session's from now on; None if it has none."""
        if self._seat is None or self._seat[0] != conference:
            return None
        (_, participant), self._seat = self._seat, None
        self.close()
        return participant

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
