"""Vectors of links: request, proof, keys, RTT, and what travels on an open link.

Each case is one packet. Cases that share value.scenario belong to one link, in the order in which they were sent.
"""

import time

import RNS
from RNS.vendor import umsgpack

from lab import NOW, case, chance, fill, identity, read, wire

PAYLOAD_IN_CLEAR = {RNS.Packet.KEEPALIVE, RNS.Packet.RESOURCE, RNS.Packet.LRPROOF}
RTT = 0.03125


def serving(owner, *name):
    """A local destination that answers link requests and proves every packet."""
    made = RNS.Destination(owner, RNS.Destination.IN, RNS.Destination.SINGLE, *name)
    made.set_proof_strategy(RNS.Destination.PROVE_ALL)
    RNS.Transport.deregister_destination(made)
    return made


class Pair:
    """Both ends of one link in one process; `carry` takes the packets of one end to the other."""

    def __init__(self, scenario, mtu=500, owner="bob"):
        self.scenario = scenario
        self.owner = identity(owner)
        chance.seed(f"link {scenario}")
        RNS.Transport.next_hop_interface_hw_mtu = staticmethod(lambda destination: mtu)
        there = RNS.Destination(self.owner, RNS.Destination.OUT, RNS.Destination.SINGLE, "lxmf", "delivery")
        wire.take()
        there.set_proof_strategy(RNS.Destination.PROVE_ALL)
        self.initiator = RNS.Link(there)
        (self.request,) = wire.take()
        here = serving(self.owner, "lxmf", "delivery")
        heard = read(self.request.raw)
        heard.destination = here
        heard.receiving_interface = None
        self.responder = RNS.Link.validate_request(here, heard.data, heard)
        (self.proof,) = wire.take()
        time.time = lambda: NOW + RTT
        answer = read(self.proof.raw)
        answer.receiving_interface = None
        self.initiator.validate_proof(answer)
        (self.rtt,) = wire.take()
        self.carry(self.initiator, self.rtt)
        time.time = lambda: NOW
        assert self.initiator.status == RNS.Link.ACTIVE and self.responder.status == RNS.Link.ACTIVE
        assert self.initiator.derived_key == self.responder.derived_key

    def carry(self, sender, packet):
        """Gives the other end what it would have read from the wire, and returns what it answered."""
        receiver = self.responder if sender is self.initiator else self.initiator
        heard = read(packet.raw)
        heard.receiving_interface = None
        heard.link = receiver
        receiver.receive(heard)
        return wire.take()

    def sent(self, name, sender, packet, **more):
        """The case of one packet on this link; what is sealed is opened with the link's own key."""
        heard = read(packet.raw)
        sealed = packet.packet_type == RNS.Packet.DATA and packet.context not in PAYLOAD_IN_CLEAR
        return case(
            f"{self.scenario}: {name}",
            packet.raw,
            scenario=self.scenario,
            kind=name,
            sender="initiator" if sender is self.initiator else "responder",
            linkId=self.initiator.link_id,
            derivedKey=self.initiator.derived_key,
            packetType=heard.packet_type,
            context=heard.context,
            hash=heard.get_hash(),
            iv=heard.data[:16] if sealed else None,
            plaintext=self.responder.decrypt(heard.data) if sealed else heard.data,
            **more,
        )


def mtu_of(link):
    return {"mtu": link.mtu, "mdu": link.mdu}


def handshake(pair):
    one, two = pair.initiator, pair.responder
    yield pair.sent(
        "link request", one, pair.request,
        destinationHash=pair.request.destination_hash,
        responderPrivateKey=pair.owner.get_private_key(),
        responderIdentityHash=pair.owner.hash,
        initiatorEncryptionPrivate=one.prv.private_bytes(),
        initiatorEncryptionPublic=one.pub_bytes,
        initiatorSigningPrivate=one.sig_prv.private_bytes(),
        initiatorSigningPublic=one.sig_pub_bytes,
        responderEncryptionPrivate=two.prv.private_bytes(),
        responderEncryptionPublic=two.pub_bytes,
        signalling=pair.request.data[64:],
        sharedKey=one.shared_key,
        mode=one.mode,
        **mtu_of(one),
    )
    body = read(pair.proof.raw).data
    yield pair.sent(
        "link request proof", two, pair.proof,
        signature=body[:64],
        responderEncryptionPublic=body[64:96],
        signalling=body[96:],
        signed=two.link_id + two.pub_bytes + two.sig_pub_bytes + body[96:],
    )
    yield pair.sent("link rtt", one, pair.rtt, rtt=RTT)


def traffic(pair):
    one, two = pair.initiator, pair.responder
    caller = identity("alice")

    def packet(sender, data, context=RNS.Packet.NONE):
        made = RNS.Packet(sender, data, context=context)
        made.send()
        (sent,) = wire.take()
        return sent

    one.identify(caller)
    (identify,) = wire.take()
    yield pair.sent("link identify", one, identify, privateKey=caller.get_private_key(), publicKey=caller.get_public_key(), identityHash=caller.hash)
    pair.carry(one, identify)
    assert two.get_remote_identity().hash == caller.hash

    for name, sender, data in [
        ("data", one, b"over the link"),
        ("data back", two, "zurück über die Strecke".encode()),
        ("data of one byte", one, b"\x00"),
        ("data as long as the mdu", one, fill("mdu", one.mdu)),
    ]:
        sent = packet(sender, data)
        yield pair.sent(name, sender, sent)
        proofs = pair.carry(sender, sent)
        other = two if sender is one else one
        signing = other.sig_prv.private_bytes()
        yield pair.sent(f"proof of {name}", other, proofs[0], provedHash=sent.packet_hash, signature=proofs[0].data[32:], signingPrivate=signing)

    yield pair.sent("keepalive", one, packet(one, b"\xff", RNS.Packet.KEEPALIVE))
    yield pair.sent("keepalive answer", two, packet(two, b"\xfe", RNS.Packet.KEEPALIVE))


def requests(pair):
    one, two = pair.initiator, pair.responder
    for name, path, data in [
        ("request without data", "/status", None),
        ("request with bytes", "/echo", b"some bytes"),
        ("request with a map", "/page/index.mu", {"field_name": "value", "var_x": "1"}),
        ("request with a list", "/get", [[fill("wanted", 32)], [], 1000]),
    ]:
        receipt = one.request(path, data=data)
        (sent,) = wire.take()
        yield pair.sent(name, one, sent, path=path, pathHash=RNS.Identity.truncated_hash(path.encode()), data=data, requestedAt=NOW, requestId=receipt.request_id)
        answer = {"request without data": None, "request with bytes": b"some bytes"}.get(name, ["answer", True, -1, 1.5, b"\x01"])
        body = umsgpack.packb([receipt.request_id, answer])
        RNS.Packet(two, body, context=RNS.Packet.RESPONSE).send()
        (response,) = wire.take()
        yield pair.sent(f"response to {name}", two, response, requestId=receipt.request_id, data=answer)
    one.pending_requests.clear()


def close(pair, sender):
    sender.teardown()
    packets = [packet for packet in wire.take() if packet.context == RNS.Packet.LINKCLOSE]
    yield pair.sent("close", sender, packets[0])


def links():
    for scenario, mtu in [("mtu 500", 500), ("mtu 16384", 16384), ("mtu 1064", 1064), ("mtu 508", 508)]:
        pair = Pair(scenario, mtu)
        yield from handshake(pair)
        yield from traffic(pair)
        yield from requests(pair)
        yield from close(pair, pair.initiator if mtu == 500 else pair.responder)
    yield without_signalling()
    yield through_a_transport_node()


def without_signalling():
    """A link request of the older form, 64 bytes without MTU and mode, as a peer may still send it."""
    chance.seed("link without signalling")
    owner = identity("bob")
    here = serving(owner, "lxmf", "delivery")
    prv, sig = fill("old initiator x", 32), fill("old initiator ed", 32)
    body = RNS.Cryptography.X25519PrivateKey.from_private_bytes(prv).public_key().public_bytes()
    body += RNS.Cryptography.Ed25519PrivateKey.from_private_bytes(sig).public_key().public_bytes()
    packet = RNS.Packet(RNS.Destination(owner, RNS.Destination.OUT, RNS.Destination.SINGLE, "lxmf", "delivery"), body, packet_type=RNS.Packet.LINKREQUEST)
    packet.pack()
    heard = read(packet.raw)
    heard.destination, heard.receiving_interface = here, None
    wire.take()
    made = RNS.Link.validate_request(here, heard.data, heard)
    (proof,) = wire.take()
    return case(
        "without signalling: link request", packet.raw,
        scenario="without signalling", kind="link request", sender="initiator", linkId=made.link_id, derivedKey=made.derived_key,
        responderPrivateKey=owner.get_private_key(), initiatorEncryptionPrivate=prv, initiatorSigningPrivate=sig,
        responderEncryptionPrivate=made.prv.private_bytes(), plaintext=body, signalling=b"", proof=proof.raw, mode=made.mode, **mtu_of(made),
    )


def through_a_transport_node():
    """The same link request with the header a transport node adds has the same link id."""
    pair = Pair("through a transport node")
    raw = pair.request.raw
    routed = bytes([(raw[0] & 0x0F) | 0x50, 3]) + fill("next hop", 16) + raw[2:]
    heard = read(routed)
    assert RNS.Link.link_id_from_lr_packet(heard) == pair.initiator.link_id
    return case(
        "through a transport node: link request", routed,
        scenario=pair.scenario, kind="link request", sender="initiator", linkId=pair.initiator.link_id,
        signalling=heard.data[64:], plaintext=heard.data, hash=heard.get_hash(), direct=raw,
    )


def kinds():
    return {"link": links}
