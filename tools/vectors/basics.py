"""Vectors without a link: identity, destination, packet, announce, token, encryption, proof, path request, frame, bzip2."""

import bz2
import hashlib

import RNS
from RNS.Cryptography import Token
from RNS.Interfaces.TCPInterface import HDLC

from lab import NOW, case, chance, fill, identity, read, wire

PACKET_TYPES = ["data", "announce", "linkrequest", "proof"]
DESTINATION_TYPES = ["single", "group", "plain", "link"]
CONTEXTS = {
    "none": 0x00, "resource part": 0x01, "resource advertisement": 0x02, "resource request": 0x03,
    "resource hashmap update": 0x04, "resource proof": 0x05, "resource initiator cancel": 0x06,
    "resource receiver cancel": 0x07, "cache request": 0x08, "request": 0x09, "response": 0x0A,
    "path response": 0x0B, "command": 0x0C, "command status": 0x0D, "channel": 0x0E, "unassigned": 0x77,
    "keepalive": 0xFA, "link identify": 0xFB, "link close": 0xFC, "link proof": 0xFD, "link rtt": 0xFE,
    "link request proof": 0xFF,
}


def identities():
    for label in ["alice", "bob", "carol"]:
        made = identity(label)
        messages = [b"", b"hello", fill(f"{label} message", 500)]
        yield case(
            label,
            made.get_private_key(),
            publicKey=made.get_public_key(),
            hash=made.hash,
            encryptionPrivate=made.prv_bytes,
            signingPrivate=made.sig_prv_bytes,
            encryptionPublic=made.pub_bytes,
            signingPublic=made.sig_pub_bytes,
            signatures=[{"message": message, "signature": made.sign(message)} for message in messages],
        )


def destinations():
    alice, bob = identity("alice"), identity("bob")
    wanted = [
        (alice, "single", "lxmf", ["delivery"]),
        (bob, "single", "lxmf", ["delivery"]),
        (alice, "single", "lxmf", ["propagation"]),
        (alice, "single", "nomadnetwork", ["node"]),
        (alice, "single", "app", []),
        (alice, "single", "app", ["one", "two", "three"]),
        (alice, "single", "приложение", ["ключ"]),
        (bob, "group", "app", ["group"]),
        (None, "plain", "rnstransport", ["path", "request"]),
        (None, "plain", "rnstransport", ["tunnel", "synthesize"]),
        (None, "plain", "app", []),
    ]
    for owner, kind, app, aspects in wanted:
        code = DESTINATION_TYPES.index(kind)
        made = RNS.Destination(owner, RNS.Destination.OUT, code, app, *aspects)
        yield case(
            f"{kind} {'.'.join([app, *aspects])}",
            made.hash,
            type=kind,
            app=app,
            aspects=aspects,
            name=RNS.Destination.expand_name(None, app, *aspects),
            nameHash=made.name_hash,
            identityHash=owner.hash if owner else None,
            publicKey=owner.get_public_key() if owner else None,
        )


def packet_value(packet):
    return {
        "headerType": packet.header_type + 1,
        "contextFlag": bool(packet.context_flag),
        "propagation": "transport" if packet.transport_type else "broadcast",
        "destinationType": DESTINATION_TYPES[packet.destination_type],
        "packetType": PACKET_TYPES[packet.packet_type],
        "hops": packet.hops,
        "transportId": packet.transport_id,
        "destinationHash": packet.destination_hash,
        "context": packet.context,
        "data": packet.data,
        "hashable": packet.get_hashable_part(),
        "hash": packet.get_hash(),
        "truncatedHash": packet.getTruncatedHash(),
    }


def header(flags, hops, context, data, transport=b""):
    return bytes([flags, hops]) + transport + fill("packet destination", 16) + bytes([context]) + data


def packets():
    hop = fill("packet transport", 16)
    for flags in range(128):
        second = bool(flags & 0x40)
        raw = header(flags, flags % 5, 0, fill("packet data", 20), hop if second else b"")
        packet = read(raw)
        yield case(f"flags {flags:08b}", raw, **packet_value(packet))
    for name, context in CONTEXTS.items():
        raw = header(0x0C, 0, context, fill(name, 24))
        yield case(f"context {name}", raw, **packet_value(read(raw)))
    for hops in [0, 1, 126, 127]:
        raw = header(0x00, hops, 0, b"x")
        yield case(f"{hops} hops", raw, **packet_value(read(raw)))
    for size in [1, 464, 481]:
        raw = header(0x00, 0, 0, fill("size", size))
        yield case(f"{size} bytes of data", raw, **packet_value(read(raw)))
    plain = RNS.Destination(None, RNS.Destination.OUT, RNS.Destination.PLAIN, "app", "plain")
    made = RNS.Packet(plain, b"broadcast in the clear")
    made.pack()
    yield case("plain, packed by the reference", made.raw, **packet_value(read(made.raw)))


def dropped_packets():
    wanted = {
        "128 hops": header(0x00, 128, 0, b"x"),
        "255 hops": header(0x00, 255, 0, b"x"),
        "no data": header(0x00, 0, 0, b""),
        "no data behind two addresses": header(0x40, 0, 0, b"", fill("packet transport", 16)),
        "destination cut short": bytes([0, 0]) + fill("packet destination", 10),
        "second address missing": bytes([0x40, 0]) + fill("packet transport", 16),
        "flags only": b"\x00",
        "empty": b"",
    }
    for name, raw in wanted.items():
        assert read(raw) is None, name
        yield case(name, raw, dropped=True)


def announcer(owner, *name):
    made = RNS.Destination(owner, RNS.Destination.IN, RNS.Destination.SINGLE, *name)
    RNS.Transport.deregister_destination(made)
    return made


def announce_case(title, label, name, app_data=None, ratchet=None, path_response=False):
    chance.seed(f"announce {title}")
    owner = identity(label)
    made = announcer(owner, *name)
    if ratchet:
        made.ratchets = [ratchet]
        made.latest_ratchet_time = NOW
    packet = made.announce(app_data=app_data, path_response=path_response, send=False)
    packet.pack()
    heard = read(packet.raw)
    assert RNS.Identity.validate_announce(heard, only_validate_signature=True), title
    body = heard.data
    at = 84
    public = body[at : at + 32] if ratchet else None
    at += 32 if ratchet else 0
    return case(
        title,
        packet.raw,
        privateKey=owner.get_private_key(),
        publicKey=body[:64],
        identityHash=owner.hash,
        name=".".join(name),
        nameHash=body[64:74],
        randomBlob=body[74:84],
        emittedAt=int.from_bytes(body[79:84], "big"),
        ratchetPrivate=ratchet,
        ratchet=public,
        ratchetId=RNS.Identity._get_ratchet_id(public) if ratchet else None,
        signature=body[at : at + 64],
        appData=body[at + 64 :],
        destinationHash=made.hash,
        contextFlag=bool(heard.context_flag),
        context=heard.context,
        hash=heard.get_hash(),
        draws=chance.draws,
    )


def announces():
    delivery = ("lxmf", "delivery")
    ratchet = fill("announce ratchet", 32)
    lxmf = bytes.fromhex("93c40541") + b"lice" + bytes.fromhex("c09100")
    yield announce_case("without app data", "alice", delivery)
    yield announce_case("with app data", "alice", delivery, app_data=lxmf)
    yield announce_case("with a ratchet", "alice", delivery, ratchet=ratchet)
    yield announce_case("with a ratchet and app data", "alice", delivery, app_data=lxmf, ratchet=ratchet)
    yield announce_case("as path response", "bob", delivery, app_data=lxmf, path_response=True)
    yield announce_case("as path response with a ratchet", "bob", delivery, app_data=lxmf, ratchet=ratchet, path_response=True)
    yield announce_case("of another name", "carol", ("nomadnetwork", "node"), app_data="Carol’s node ☀".encode())
    yield announce_case("with as much app data as a relay can carry", "carol", delivery, app_data=fill("app data", 317))
    yield announce_case(
        "with a ratchet and as much app data as a relay can carry", "carol", delivery, app_data=fill("app data", 285), ratchet=ratchet
    )


def refused_announces():
    good = bytes.fromhex(announce_case("with a ratchet and app data", "alice", ("lxmf", "delivery"), app_data=b"app data", ratchet=fill("announce ratchet", 32))["bytes"])
    bare = bytes.fromhex(announce_case("without app data", "alice", ("lxmf", "delivery"))["bytes"])

    def flipped(raw, at):
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    head = 19
    wanted = {
        "encryption key changed": flipped(good, head),
        "signing key changed": flipped(good, head + 40),
        "name hash changed": flipped(good, head + 64),
        "random blob changed": flipped(good, head + 74),
        "ratchet changed": flipped(good, head + 84),
        "signature changed": flipped(good, head + 116),
        "app data changed": flipped(good, len(good) - 1),
        "app data appended": bare + b"x",
        "destination hash changed": flipped(good, 2),
        "ratchet flag cleared": bytes([good[0] & ~0x20]) + good[1:],
    }
    for name, raw in wanted.items():
        packet = read(raw)
        valid = RNS.Identity.validate_announce(packet)
        assert not valid, name
        yield case(name, raw, valid=False)


def tokens():
    for size in [64, 32]:
        for length in [0, 1, 15, 16, 17, 100, 383, 1000]:
            title = f"{length} bytes under a {size * 8} bit key"
            chance.seed(f"token {title}")
            key, plaintext = fill(f"token key {size}", size), fill("token plaintext", length)
            sealed = Token(key).encrypt(plaintext)
            assert Token(key).decrypt(sealed) == plaintext
            yield case(title, sealed, key=key, iv=chance.draws[0], plaintext=plaintext)


def encryptions():
    for label, length, ratcheted in [
        ("alice", 0, False), ("alice", 5, False), ("bob", 295, False), ("bob", 383, False),
        ("alice", 5, True), ("bob", 295, True), ("carol", 383, True),
    ]:
        title = f"{length} bytes to {label}" + (" under a ratchet" if ratcheted else "")
        chance.seed(f"encryption {title}")
        owner = identity(label)
        private = fill(f"{label} ratchet", 32) if ratcheted else None
        public = RNS.Identity._ratchet_public_bytes(private) if ratcheted else None
        plaintext = fill("encryption plaintext", length)
        sealed = owner.encrypt(plaintext, ratchet=public)
        assert owner.decrypt(sealed, ratchets=[private] if ratcheted else None) == plaintext
        ephemeral = RNS.Cryptography.X25519PrivateKey.from_private_bytes(chance.draws[0])
        target = RNS.Cryptography.X25519PublicKey.from_public_bytes(public or owner.pub_bytes)
        shared = ephemeral.exchange(target)
        yield case(
            title,
            sealed,
            privateKey=owner.get_private_key(),
            publicKey=owner.get_public_key(),
            identityHash=owner.hash,
            ratchetPrivate=private,
            ratchet=public,
            ratchetId=RNS.Identity._get_ratchet_id(public) if ratcheted else None,
            ephemeralPrivate=chance.draws[0],
            ephemeralPublic=ephemeral.public_key().public_bytes(),
            iv=chance.draws[1],
            sharedKey=shared,
            derivedKey=RNS.Cryptography.hkdf(length=64, derive_from=shared, salt=owner.get_salt(), context=owner.get_context()),
            plaintext=plaintext,
        )


def single_packets():
    for ratcheted in [False, True]:
        title = "data to a single destination" + (" under a ratchet" if ratcheted else "")
        chance.seed(f"single {title}")
        owner = identity("bob")
        there = RNS.Destination(owner, RNS.Destination.OUT, RNS.Destination.SINGLE, "lxmf", "delivery")
        private = fill("bob ratchet", 32) if ratcheted else None
        # An announce made before may have left one behind.
        RNS.Identity.known_ratchets.pop(there.hash, None)
        if ratcheted:
            RNS.Identity.known_ratchets[there.hash] = RNS.Identity._ratchet_public_bytes(private)
        packet = RNS.Packet(there, b"one packet")
        packet.pack()
        yield case(
            title,
            packet.raw,
            privateKey=owner.get_private_key(),
            destinationHash=there.hash,
            ratchetPrivate=private,
            ratchetId=packet.ratchet_id,
            draws=chance.draws,
            plaintext=b"one packet",
            hash=packet.packet_hash,
        )
        RNS.Identity.known_ratchets.pop(there.hash, None)


def groups():
    """What goes to a group: a token under the key that its members share."""
    for name, size in [("a key of 64 bytes", 64), ("a key of 32 bytes", 32)]:
        chance.seed(f"group {size}")
        owner = identity("carol")
        there = RNS.Destination(owner, RNS.Destination.OUT, RNS.Destination.GROUP, "app", "group")
        there.load_private_key(fill(f"group key {size}", size))
        packet = RNS.Packet(there, b"to everybody")
        packet.pack()
        yield case(
            name,
            packet.raw,
            app="app",
            aspects=["group"],
            privateKey=owner.get_private_key(),
            groupKey=there.get_private_key(),
            destinationHash=there.hash,
            draws=chance.draws,
            plaintext=b"to everybody",
            hash=packet.packet_hash,
        )


def proofs():
    for label, implicit in [("alice", True), ("alice", False), ("bob", True), ("bob", False)]:
        kind = "implicit" if implicit else "explicit"
        chance.seed(f"proof {label} {kind}")
        owner = identity(label)
        there = RNS.Destination(owner, RNS.Destination.OUT, RNS.Destination.SINGLE, "lxmf", "delivery")
        packet = RNS.Packet(there, b"prove this")
        packet.pack()
        heard = read(packet.raw)
        RNS.Reticulum._Reticulum__use_implicit_proof = implicit
        wire.take()
        owner.prove(heard)
        (proof,) = wire.take()
        RNS.Reticulum._Reticulum__use_implicit_proof = True
        yield case(
            f"{kind} by {label}",
            proof.raw,
            kind=kind,
            privateKey=owner.get_private_key(),
            proved=packet.raw,
            packetHash=packet.packet_hash,
            destinationHash=proof.destination.hash,
            signature=proof.data[-64:],
        )


def path_requests():
    wanted = fill("path request target", 16)
    for transport in [False, True]:
        RNS.Reticulum._Reticulum__transport_enabled = transport
        for given in [None, fill("tag", 16), fill("tag", 6)]:
            shape = "with a transport id" if transport else "without a transport id"
            tag = "a drawn tag" if given is None else f"a tag of {len(given)} bytes"
            chance.seed(f"path request {shape} {tag}")
            wire.take()
            RNS.Transport.request_path(wanted, tag=given)
            (packet,) = wire.take()
            yield case(
                f"{shape}, {tag}",
                packet.raw,
                destinationHash=packet.destination.hash,
                wanted=wanted,
                transportId=RNS.Transport.identity.hash if transport else None,
                tag=packet.data[32 if transport else 16 :],
                draws=chance.draws,
            )
    RNS.Reticulum._Reticulum__transport_enabled = False


def frames():
    """HDLC as TCP interfaces carry it; one vector has two frames and noise before, between and after them."""

    def framed(payload):
        return bytes([HDLC.FLAG]) + HDLC.escape(payload) + bytes([HDLC.FLAG])

    wanted = {
        "nothing to escape": fill("frame", 20).replace(b"\x7e", b"").replace(b"\x7d", b""),
        "flags and escapes": b"\x7e\x7d\x5e\x5d" * 6,
        "only flags": b"\x7e" * 20,
        "only escapes": b"\x7d" * 20,
        "every byte": bytes(range(256)),
        "an mtu": fill("frame mtu", 500),
    }
    for name, payload in wanted.items():
        yield case(name, framed(payload), payloads=[payload])
    one, two = wanted["every byte"], wanted["flags and escapes"]
    yield case("two frames that share a flag", framed(one)[:-1] + framed(two), payloads=[one, two])
    yield case("idle flags around a frame", b"\x7e" * 5 + framed(one) + b"\x7e" * 5, payloads=[one])


def bzip2s():
    """What bz2.compress makes, which RNS calls for Resources: a decoder must take all of it."""
    wanted = {
        "nothing": b"",
        "one byte": b"x",
        **{f"a run of {size}": b"a" * size for size in [2, 3, 4, 5, 254, 255, 256, 258, 259, 260, 100_000]},
        "runs side by side": b"aaaabbbbccccaaaa" * 50,
        "every byte": bytes(range(256)) * 4,
        "text": b"The mesh carries what the wire cannot. " * 200,
        "text beyond ascii": "Die Strecke trägt, was der Draht nicht kann. ☀ ".encode() * 40,
        "bytes without a pattern": fill("bzip2", 5000),
        "three blocks": b"0123456789" * 250_000,
        "zeros": bytes(1_048_575),
    }
    for name, data in wanted.items():
        packed = bz2.compress(data)
        short = data.hex() if len(data) <= 600 else None
        yield case(name, packed, length=len(data), sha256=hashlib.sha256(data).digest(), data=short)


def kinds():
    return {
        "identity": identities,
        "destination": destinations,
        "packet": packets,
        "packet-dropped": dropped_packets,
        "announce": announces,
        "announce-refused": refused_announces,
        "token": tokens,
        "encryption": encryptions,
        "single-packet": single_packets,
        "group": groups,
        "proof": proofs,
        "path-request": path_requests,
        "hdlc": frames,
        "bzip2": bzip2s,
    }
