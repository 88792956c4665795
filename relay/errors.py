"""Errors say who is at fault; every one of ours descends from OctomeshError."""


class OctomeshError(Exception):
    """Anything that octomesh itself raises."""


class MalformedError(OctomeshError):
    """Bytes from the network that break their format; raised by `..._untrusted` parsers alone."""


class LocalProtocolError(OctomeshError):
    """Our own side asked a protocol core for something that its state does not allow."""


class RemoteProtocolError(OctomeshError):
    """The peer sent something well-formed that the protocol does not allow."""


class PeerGone(OctomeshError):
    """The peer closed, vanished or stopped answering."""


class CapacityError(OctomeshError):
    """There is no room: a table, a bridge or a region is full."""


class SettingsError(OctomeshError):
    """What the operator configured cannot work; the message is one line for a terminal."""
