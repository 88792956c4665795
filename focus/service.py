"""The focus's shell: it owns the state, takes events in and carries effects out."""

import itertools
import secrets
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio
from prometheus_client import CollectorRegistry

from focus.admission import BridgeStream, admit, close_politely
from focus.authority import CERTIFICATE_LIFETIME_S, load_authority
from focus.bridge_connection import BridgeConnection
from focus.codecs import DEFAULT_CODECS
from focus.core import step
from focus.events import (
    BridgeLost,
    BridgeUp,
    CloseBridge,
    Effect,
    Event,
    Leave,
    Tick,
    ToBridge,
    ToParticipant,
)
from focus.metrics import FocusMetrics, StateCollector
from focus.notices import Joined, Moved
from focus.registry import Bridge, ConnectionId, Registry
from focus.session import Session
from focus.state import State
from focus.tokens import TokenLedger
from relay.control import (
    CONTROL_VERSION,
    Renewed,
    Welcome,
)
from relay.errors import MalformedError, PeerGone, RemoteProtocolError
from relay.ids import (
    MAX_PARTICIPANT_ID,
    BridgeId,
    ConferenceId,
    ParticipantId,
    Region,
    VideoCodec,
)

TICK_S = 0.25
LINGER_S = 2.0
"""How long a participant is kept whose connection broke: most that come back do so in less."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A new bridge's papers."""

    certificate_pem: bytes
    mesh_ca_pem: bytes
    bridge: BridgeId
    region: Region


class Focus:
    """The global focus of one mesh, with its state in memory and its keys in `state_dir`.

    Raises SettingsError where the state directory is damaged. `run` has to run beside
    everything else. `codecs` and `last_n` are what `State` has under these names.
    """

    def __init__(
        self,
        state_dir: Path,
        metrics: CollectorRegistry,
        codecs: tuple[VideoCodec, ...] = DEFAULT_CODECS,
        last_n: int | None = None,
    ) -> None:
        self._authority = load_authority(state_dir, time.time())
        self._ledger = TokenLedger(state_dir)
        self._enrolling = trio.Lock()
        # A region whose bridges have not come back yet is no unknown one.
        registry = Registry(known_regions=self._ledger.regions)
        self._state = State(codecs=codecs, last_n=last_n, registry=registry)
        self._events: deque[Event] = deque()
        self._at_work = False
        self._links: dict[ConnectionId, BridgeConnection] = {}
        self._connections = itertools.count(1)
        self._sessions: dict[ParticipantId, Session] = {}
        self._holders: dict[str, ParticipantId] = {}
        """By their secrets."""
        self._lingering: dict[Session, float] = {}
        """Until when."""
        self._last_participant = secrets.randbelow(MAX_PARTICIPANT_ID)
        self._metrics = FocusMetrics(metrics)
        metrics.register(StateCollector(lambda: self._state))

    @property
    def state(self) -> State:
        """All that the focus knows now; immutable."""
        return self._state

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lets time pass, until cancelled."""
        task_status.started()
        while True:
            now = trio.current_time()
            self.handle(Tick(now=now))
            for session in [it for it, until_s in self._lingering.items() if until_s <= now]:
                del self._lingering[session]
                session.close()
            await trio.sleep(TICK_S)

    # Enrolment

    async def enrol(self, token: str, csr_pem: bytes, region: Region) -> Enrolled:
        """A certificate for a new bridge of `region`, for a token that is spent by it.

        MalformedError or RemoteProtocolError, fit for the operator to read, when token or
        request are not good; the token stays good then.
        """
        async with self._enrolling:
            now = time.time()
            grant = self._ledger.check_untrusted(token, now)
            if grant.region != region:
                raise RemoteProtocolError(f"the token is for region {grant.region}, not {region}")
            certificate_pem = self._authority.issue(
                csr_pem, grant.bridge, grant.region, now, CERTIFICATE_LIFETIME_S
            )
            with trio.CancelScope(shield=True):  # on disk and in memory, or in neither
                await trio.to_thread.run_sync(self._ledger.spend, grant, now)
        self._metrics.enrolled.inc()
        log.info("bridge-enrolled", bridge=grant.bridge, region=grant.region)
        return Enrolled(
            certificate_pem=certificate_pem,
            mesh_ca_pem=self._authority.certificate_pem,
            bridge=grant.bridge,
            region=grant.region,
        )

    # Bridges

    async def serve_bridge(self, stream: BridgeStream) -> None:
        """Speaks with one bridge until it goes or is sent away; the caller closes the stream."""
        try:
            hello, bridge, region = await admit(stream, self._authority.certificate_pem)
        except PeerGone:
            return
        except (MalformedError, RemoteProtocolError) as error:
            await self._deny(stream, str(error), bridge=None)
            return
        connection = ConnectionId(next(self._connections))
        link = BridgeConnection(self, stream, bridge, connection)
        link.tell(Welcome(version=CONTROL_VERSION, bridge=bridge, region=region))
        self._links[connection] = link
        log.info("bridge-up", bridge=bridge, region=region, software=hello.software)
        self.handle(
            BridgeUp(
                bridge=Bridge(
                    bridge=bridge,
                    region=region,
                    connection=connection,
                    media_addresses=hello.media_addresses,
                    relay_addresses=hello.relay_addresses,
                    ping_password=hello.ping_password,
                    up_since_s=trio.current_time(),
                )
            )
        )
        try:
            fault = await link.run()
        finally:
            del self._links[connection]
            if self._state.registry.is_current(bridge, connection):
                self._metrics.lost.inc()
                log.warning("bridge-lost", bridge=bridge, region=region)
            self.handle(BridgeLost(bridge=bridge, connection=connection))
        if fault is not None:
            await self._deny(stream, fault, bridge=bridge)
        elif link.why_cut_off is not None:
            await close_politely(stream, link.why_cut_off)

    def renew(self, csr_pem: bytes, bridge: BridgeId, connection: ConnectionId) -> None:
        """For its connection: a new certificate, if that is the live one."""
        live = self._state.registry.bridges.get(bridge)
        if live is None or live.connection != connection:
            return
        renewed = self._authority.issue(
            csr_pem, bridge, live.region, time.time(), CERTIFICATE_LIFETIME_S
        )
        log.info("bridge-renewed", bridge=bridge)
        self._carry_out(ToBridge(bridge=bridge, message=Renewed(certificate_pem=renewed)))

    async def _deny(self, stream: BridgeStream, reason: str, bridge: BridgeId | None) -> None:
        self._metrics.denied.inc()
        log.warning("bridge-denied", bridge=bridge, reason=reason)
        await close_politely(stream, reason)

    # Participants

    def session(self) -> Session:
        """A new participant's session, without a seat yet."""
        return Session(self)

    def seat(self, session: Session) -> ParticipantId:
        """A number that no participant of this focus has had, whose notices go to `session`."""
        self._last_participant = self._last_participant % MAX_PARTICIPANT_ID + 1
        participant = ParticipantId(self._last_participant)
        self._sessions[participant] = session
        self._holders[session.secret] = participant
        return participant

    def has_joined(self, conference: ConferenceId, participant: ParticipantId) -> bool:
        """Whether that participant is in that conference."""
        known = self._state.conferences.get(conference)
        return known is not None and participant in known.members

    def take_over(
        self, secret: str, conference: ConferenceId, session: Session
    ) -> ParticipantId | None:
        """The number of who holds that secret there, whose notices go to `session` from now on."""
        holder = self._holders.get(secret)
        participant = self._sessions[holder].yield_seat(conference) if holder else None
        if participant is not None:
            self._sessions[participant] = session
        return participant

    def linger(self, session: Session) -> None:
        """Closes that session in a while, unless another one takes it over."""
        self._lingering[session] = trio.current_time() + LINGER_S

    def unseat(self, participant: ParticipantId) -> None:
        """No notices for that number any more."""
        session = self._sessions.pop(participant, None)
        if session is not None:
            self._holders.pop(session.secret, None)

    # Events and effects

    def handle(self, event: Event) -> None:
        """Applies an event and carries out what follows, before it returns."""
        self._events.append(event)
        if self._at_work:
            return  # it comes of an effect of the event at work, and is next
        self._at_work = True
        try:
            while self._events:
                self._apply(self._events.popleft())
        finally:
            self._at_work = False

    def _apply(self, event: Event) -> None:
        self._state, effects = step(self._state, event)
        if isinstance(event, Leave):
            log.info("participant-left", conference=event.conference, participant=event.participant)
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case ToBridge(bridge=name, message=message):
                connection = self._state.registry.bridges[name].connection
                link = self._links[connection]
                if not link.tell(message):
                    self._metrics.slow.labels("bridge").inc()
                    log.warning("bridge-reads-too-slowly", bridge=name)
                    link.cut_off("you read too slowly")
            case CloseBridge(bridge=name, connection=connection, reason=reason):
                log.warning("bridge-cut-off", bridge=name, reason=reason)
                if connection in self._links:
                    self._links[connection].cut_off(reason)
            case ToParticipant(conference=conference, participant=participant, notice=notice):
                session = self._sessions.get(participant)
                if session is None:
                    return
                match notice:
                    case Joined(you=you, resumed=resumed):
                        log.info(
                            "participant-resumed" if resumed else "participant-joined",
                            conference=conference,
                            participant=participant,
                            bridge=you.bridge,
                        )
                    case Moved(bridge=bridge):
                        self._metrics.moved.inc()
                        log.info(
                            "participant-moved",
                            conference=conference,
                            participant=participant,
                            bridge=bridge,
                        )
                if not session.deliver(notice):
                    self._metrics.slow.labels("participant").inc()
                    log.warning(
                        "participant-reads-too-slowly",
                        conference=conference,
                        participant=participant,
                    )
                    session.close()
