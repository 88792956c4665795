"""What a deployment says of itself over HTTP, before people come and while they are there."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from relay.errors import SettingsError

TIMEOUT_S = 5.0
LOOK_S = 1.0


@dataclass(slots=True)
class BridgeLoad:
    """What one bridge has said in its heartbeats, a sample a second."""

    region: str
    cpu: list[float] = field(default_factory=list)
    """Shares of a core, of the whole process."""
    packets_per_s: list[float] = field(default_factory=list)
    """In and out together."""

    @property
    def mean_cpu(self) -> float:
        """Of all samples."""
        return sum(self.cpu) / len(self.cpu)


@dataclass(slots=True)
class Heartbeats:
    """What a focus has passed on of its bridges."""

    loads: dict[str, BridgeLoad] = field(default_factory=dict)
    """By bridge."""
    asked: int = 0
    unanswered: int = 0
    """Of them so many in vain."""

    @property
    def gaps(self) -> str:
        """In words; empty where there are none."""
        if not self.unanswered:
            return ""
        return f"the focus did not answer {self.unanswered} of {self.asked} times"


class Deployment:
    """A focus at a URL, and its bridges."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self.url = url.rstrip("/")
        self._tls = tls

    async def check(self, region: str | None) -> bool:
        """Whether it has IPv4; SettingsError, one line, when nobody can join there."""
        regions = await self._ask("/api/regions")
        if not isinstance(regions, list) or not all(
            isinstance(each, dict) and {"region", "bridges"} <= each.keys() for each in regions
        ):
            raise SettingsError(f"no octomesh at {self.url}: the answer is not octomesh's")
        names = sorted(each["region"] for each in regions)
        if not names:
            raise SettingsError(f"{self.url} has no bridge that is up")
        if region is not None and region not in names:
            raise SettingsError(f"--region {region}: {self.url} has {', '.join(names)}")
        return any(
            ":" not in address["host"]
            for each in regions
            if region in (None, each["region"])
            for bridge in each["bridges"]
            for address in bridge["addresses"]
        )

    async def watch(self, heartbeats: Heartbeats) -> None:
        """Add to the loads of all bridges each second, until cancelled.

        A question that is not answered is counted: it costs a sample and no more.
        """
        while True:
            try:
                mesh = await self._ask("/api/mesh")
            except SettingsError:
                heartbeats.unanswered += 1
            else:
                for bridge in mesh["bridges"]:
                    if bridge["cpu"] is not None:
                        load = heartbeats.loads.setdefault(
                            bridge["bridge"], BridgeLoad(bridge["region"])
                        )
                        load.cpu.append(bridge["cpu"])
                        load.packets_per_s.append(bridge["packets_per_s"])
            heartbeats.asked += 1
            await trio.sleep(LOOK_S)

    async def _ask(self, path: str) -> Any:
        try:
            async with httpx.AsyncClient(verify=self._tls, timeout=TIMEOUT_S) as client:
                answer = await client.get(self.url + path)
                return answer.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            if unverified := _unverified(error):
                raise SettingsError(
                    f"no octomesh at {self.url}: its certificate cannot be verified "
                    f"({unverified}); give --ca the focus's web-certificate.pem, or your "
                    "authority's certificate"
                ) from None
            raise SettingsError(f"no octomesh at {self.url}: {_reason(error)}") from None


def means(loads: Mapping[str, BridgeLoad]) -> dict[str, float]:
    """CPU of each bridge, as a share of a core."""
    return {name: load.mean_cpu for name, load in sorted(loads.items())}


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {TIMEOUT_S:g} s"
    return str(error).split("\n")[0] or type(error).__name__


def _unverified(error: BaseException | None) -> str | None:
    """Why a certificate was not believed, if that is what is behind the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return None
