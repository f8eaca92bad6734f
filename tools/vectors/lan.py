"""Vectors of finding each other on a LAN: what the reference's AutoInterface sends to its group, and to which address."""

import RNS
from RNS.Interfaces import AutoInterface as auto

from lab import case

GROUPS = ["reticulum", "a", "Elm Street ☀", "x" * 256]
ADDRESSES = ["fe80::1", "fe80::a00:27ff:fe4e:66a1", "fe80::200:0:0:1"]
SCOPES = ["link", "admin", "site", "organisation", "global"]


class Recorder:
    """Stands in for a socket: keeps what is sent instead of sending it."""

    sent = []

    def __init__(self, *_):
        pass

    def setsockopt(self, *_):
        pass

    def sendto(self, data, address):
        Recorder.sent.append((data, address))

    def close(self):
        pass


class Sockets:
    """The socket module, but for the socket."""

    socket = Recorder

    def __getattr__(self, name):
        return getattr(auto_socket, name)


auto_socket = auto.socket


def announced(group, address, scope="link", kind="temporary"):
    """What is sent to whom by one announcement, from an adapter with this address."""
    config = {"name": "lan", "devices": "none", "group_id": group, "discovery_scope": scope, "multicast_address_type": kind}
    lan = auto.AutoInterface(RNS.Transport, config)
    lan.adopted_interfaces["lo"] = address
    Recorder.sent.clear()
    auto.socket = Sockets()
    try:
        lan.peer_announce("lo")
    finally:
        auto.socket = auto_socket
    ((token, to),) = Recorder.sent
    return case(
        f"{group[:16]}, {address}, {scope}, {kind}",
        token,
        group=group,
        address=address,
        scope=scope,
        addressType=kind,
        multicast=to[0],
        port=to[1],
    )


def lans():
    for group in GROUPS:
        for address in ADDRESSES:
            yield announced(group, address)
    for scope in SCOPES:
        for kind in ["temporary", "permanent"]:
            yield announced("reticulum", "fe80::1", scope, kind)


def kinds():
    return {"lan": lans}
