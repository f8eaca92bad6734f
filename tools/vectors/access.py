"""Vectors of interface access codes: packets as the reference seals them for an interface, and opens them again."""

import RNS

from lab import case, fill

NETWORKS = [("elm", None, 16), (None, "secret", 8), ("elm street ☀", "correct horse", 16), ("a", "b", 1), ("a", "b", 64)]
LENGTHS = [20, 100, 500, 8300]


class Interface:
    """What the reference needs to know of an interface to seal for it."""

    def __init__(self, name, passphrase, size):
        origin = b"".join(RNS.Identity.full_hash(one.encode("utf-8")) for one in (name, passphrase) if one is not None)
        self.ifac_key = RNS.Cryptography.hkdf(
            length=64, derive_from=RNS.Identity.full_hash(origin), salt=RNS.Reticulum.IFAC_SALT, context=None
        )
        self.ifac_identity = RNS.Identity.from_bytes(self.ifac_key)
        self.ifac_size = size


def codes():
    for name, passphrase, size in NETWORKS:
        interface = Interface(name, passphrase, size)
        for length in LENGTHS:
            packet = bytes([0x08, 3]) + fill(f"{name} {passphrase} {length}", length - 2)
            sealed = RNS.Transport.handle_outgoing_ifac(interface, packet)
            valid, opened = RNS.Transport.handle_ifac(sealed, interface)
            assert valid and opened == packet
            yield case(
                f"{length} B, {name}, {passphrase}, {size} B of code",
                sealed,
                networkName=name,
                passphrase=passphrase,
                size=size,
                packet=packet.hex(),
            )


def kinds():
    return {"access-code": codes}
