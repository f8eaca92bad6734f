"""The bench on which the reference makes vectors: fixed chance, fixed time, and a wire that only records.

RNS draws from os.urandom and from the key generators of `cryptography`. Both are replaced by one seeded stream
(SHA-256 of label and counter), on the main thread only, so that the reference's own background threads cannot
shift what a case draws. Time stands still at NOW. Transport hands packets to `Wire` instead of to interfaces.
"""

import hashlib
import os
import tempfile
import threading
import time

NOW = 1_760_000_000.25


def fill(label, length):
    """Deterministic bytes: SHA-256(label || counter as 4 bytes big-endian) repeated, cut to length."""
    blocks = []
    for counter in range((length + 31) // 32):
        blocks.append(hashlib.sha256(label.encode() + counter.to_bytes(4, "big")).digest())
    return b"".join(blocks)[:length]


class Chance:
    """The seeded stream behind os.urandom, which also remembers what was drawn."""

    def __init__(self):
        self.real = os.urandom
        self.draws = []
        self.seed("start")

    def seed(self, label):
        self.label = label
        self.count = 0
        self.draws = []

    def urandom(self, length):
        if threading.current_thread() is not threading.main_thread():
            return self.real(length)
        self.count += 1
        drawn = fill(f"{self.label}/{self.count}/", length)
        self.draws.append(drawn)
        return drawn


chance = Chance()
os.urandom = chance.urandom

import RNS  # noqa: E402  (imported after os.urandom is replaced)


def generated(kind):
    return classmethod(lambda cls: cls.from_private_bytes(os.urandom(32)))


RNS.Cryptography.X25519PrivateKey.generate = generated("x25519")
RNS.Cryptography.Ed25519PrivateKey.generate = generated("ed25519")


class Wire:
    """Takes every packet the reference would transmit, in order."""

    def __init__(self):
        self.sent = []

    def outbound(self, packet):
        if not packet.packed:
            packet.pack()
        packet.sent = True
        if packet.create_receipt and packet.packet_type == RNS.Packet.DATA and packet.context not in UNRECEIPTED:
            packet.receipt = RNS.PacketReceipt(packet)
        self.sent.append(packet)
        return True

    def take(self):
        taken, self.sent = self.sent, []
        return taken


UNRECEIPTED = {RNS.Packet.KEEPALIVE, RNS.Packet.RESOURCE, RNS.Packet.LINKCLOSE, RNS.Packet.LRRTT}
wire = Wire()


def start():
    """Starts one Reticulum without interfaces in a temporary directory, then stops its clock and its wire."""
    directory = tempfile.mkdtemp(prefix="kos-vectors-")
    with open(os.path.join(directory, "config"), "w") as config:
        config.write("[reticulum]\n  enable_transport = no\n  share_instance = No\n[interfaces]\n")
    RNS.Reticulum(configdir=directory, loglevel=RNS.LOG_CRITICAL)
    RNS.Transport.identity = identity("transport")
    RNS.Transport.outbound = staticmethod(wire.outbound)
    time.time = lambda: NOW


def identity(label):
    """An identity whose 64-byte private key is fill(label)."""
    made = RNS.Identity(create_keys=False)
    made.load_private_key(fill(label, 64))
    return made


def read(raw):
    """What the reference decodes from wire bytes, or None where it drops them."""
    packet = RNS.Packet(None, bytes(raw))
    return packet if packet.unpack() else None


def plain(value):
    """The JSON form of a value: bytes as hex, the keys of maps as text."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def case(name, raw, /, **value):
    return {"name": name, "bytes": bytes(raw).hex(), "value": plain(value)}
