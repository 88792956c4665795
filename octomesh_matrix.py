"""The round trips of a running mesh, for `octomesh matrix`: asked for, and laid out as a table.

Part of the command line, beside `octomesh.py`.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from rich.table import Table

from relay.errors import SettingsError

Figures = Mapping[str, Mapping[str, float | None]]


def samples(url: str, tls: ssl.SSLContext, *, watch: bool) -> Iterator[Figures]:
    """What the focus at `url` knows, once or each second; SettingsError when there is none."""
    with httpx.Client(verify=tls, timeout=5.0) as client:
        yield rtt_matrix(_mesh(client, url))
        while watch:
            time.sleep(1.0)
            yield rtt_matrix(_mesh(client, url))


def _mesh(client: httpx.Client, url: str) -> dict[str, Any]:
    try:
        answer = client.get(f"{url.rstrip('/')}/api/mesh").raise_for_status()
        mesh = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        if unverified := _unverified(error):
            raise SettingsError(
                f"no mesh at {url}: its certificate cannot be verified ({unverified}); "
                "give --ca the focus's web-certificate.pem, or your authority's certificate"
            ) from None
        raise SettingsError(f"no mesh at {url}: {error}") from None
    if not isinstance(mesh, dict) or not {"bridges", "links"} <= mesh.keys():
        raise SettingsError(f"no mesh at {url}: the answer is not octomesh's")
    return mesh


def _unverified(error: BaseException | None) -> str | None:
    """Why a certificate was not believed, if that is what is behind the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def rtt_matrix(mesh: Mapping[str, Any]) -> Figures:
    """`/api/mesh` as RTT in ms from each bridge to each other, None where none is measured.

    Bridges are called by their region, and by region and id where a region has several.
    """
    regions = [bridge["region"] for bridge in mesh["bridges"]]
    names = {
        bridge["bridge"]: bridge["region"]
        if regions.count(bridge["region"]) == 1
        else f"{bridge['region']} {bridge['bridge']}"
        for bridge in sorted(mesh["bridges"], key=lambda it: (it["region"], it["bridge"]))
    }
    measured = {
        (link["from"], link["to"]): link["rtt_ms"] if link["up"] else None for link in mesh["links"]
    }
    return {
        name: {
            other_name: measured.get((bridge, other))
            for other, other_name in names.items()
            if other != bridge
        }
        for bridge, name in names.items()
    }


def table(figures: Figures) -> Table:
    """The figures for a terminal, a dash where none is measured."""
    made = Table(title="RTT in ms", caption="from the rows to the columns")
    made.add_column("from \\ to")
    for name in figures:
        made.add_column(name, justify="right")
    for name, row in figures.items():
        cells = []
        for other in figures:
            rtt_ms = row.get(other)
            cells.append("" if other == name else "–" if rtt_ms is None else f"{rtt_ms:.1f}")
        made.add_row(name, *cells)
    return made
