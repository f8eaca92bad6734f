"""Vectors of Resources: advertisements of every shape, and one transfer from advertisement to proof.

Data too long to write down is named as {"fill": label, "length": n}; lab.fill says how to make it.
"""

import hashlib
import time

import RNS
from RNS.vendor import umsgpack

from lab import NOW, case, chance, fill, wire
from link import Pair

TEXT = b"The mesh carries what the wire cannot. "


def spec(data, label):
    return data if len(data) <= 600 else {"fill": label, "length": len(data), "sha256": hashlib.sha256(data).digest()}


def advertisement_case(name, resource, pair, data, **more):
    packed = RNS.ResourceAdvertisement(resource).pack()
    adv = RNS.ResourceAdvertisement.unpack(packed)
    sealed = b"".join(part.data for part in resource.parts)
    return case(
        name,
        packed,
        transferSize=adv.t,
        dataSize=adv.d,
        parts=adv.n,
        hash=adv.h,
        randomHash=adv.r,
        originalHash=adv.o,
        segmentIndex=adv.i,
        totalSegments=adv.l,
        requestId=adv.q,
        flags=adv.f,
        encrypted=adv.e,
        compressed=adv.c,
        split=adv.s,
        isRequest=adv.u,
        isResponse=adv.p,
        hasMetadata=adv.x,
        hashmap=adv.m,
        wholeHashmap=resource.hashmap,
        sdu=resource.sdu,
        linkId=pair.initiator.link_id,
        derivedKey=pair.initiator.derived_key,
        data=data,
        iv=sealed[:16],
        prefix=pair.initiator.decrypt(sealed)[:4],
        sealed=sealed if len(sealed) <= 1500 else {"sha256": hashlib.sha256(sealed).digest(), "length": len(sealed)},
        expectedProof=resource.expected_proof,
        **more,
    )


def advertise(name, pair, data, label, metadata=None, **how):
    chance.seed(f"resource {name}")
    made = RNS.Resource(data, pair.initiator, metadata=metadata, advertise=False, timeout=10, **how)
    return advertisement_case(
        name, made, pair, spec(data, label), metadata=umsgpack.packb(metadata) if metadata is not None else None
    ), made


def advertisements():
    pair = Pair("resource")
    wide = Pair("resource over mtu 16384", 16384)
    request = fill("request id", 16)
    wanted = [
        ("one byte", pair, b"\x2a", "", {}),
        ("smaller plain than compressed", pair, b"short text", "", {}),
        ("incompressible, 1000 bytes", pair, fill("incompressible", 1000), "incompressible", {}),
        ("compressed", pair, TEXT * 15, "", {}),
        ("compression refused", pair, TEXT * 15, "", {"auto_compress": False}),
        ("with metadata", pair, b"body", "", {"metadata": {"name": b"file.bin", "n": 3}}),
        ("compressed with metadata", pair, TEXT * 15, "", {"metadata": {"name": b"text.txt"}}),
        ("a request", pair, umsgpack.packb([NOW, fill("path hash", 16), fill("long request", 500)]), "", {"request_id": request, "auto_compress": False}),
        ("a response", pair, umsgpack.packb([request, fill("long response", 500)]), "", {"request_id": request, "is_response": True, "auto_compress": False}),
        ("exactly 74 parts", pair, fill("74 parts", 74 * 464 - 68), "74 parts", {}),
        ("75 parts", pair, fill("75 parts", 75 * 464 - 68), "75 parts", {}),
        ("200 parts", pair, fill("200 parts", 200 * 464 - 68), "200 parts", {}),
        ("over mtu 16384", wide, fill("wide", 40000), "wide", {}),
    ]
    for name, over, data, label, how in wanted:
        made, _ = advertise(name, over, data, label, **how)
        yield made
    yield from split(wide)


def split(pair):
    """A Resource above 1 MiB - 1 goes as segments, each a Resource of its own under the first one's hash."""
    for name, length, metadata in [("split", 1_500_000, None), ("split with metadata", 1_100_000, {"name": b"big.bin"})]:
        data = fill(name, length)
        first_case, first = advertise(f"{name}: segment 1 of 2", pair, data, name, metadata=metadata)
        yield first_case
        first._Resource__prepare_next_segment()
        second = first.next_segment
        yield advertisement_case(f"{name}: segment 2 of 2", second, pair, spec(data, name), metadata=umsgpack.packb(metadata) if metadata else None)


def kind_of(packet, resource):
    names = {
        RNS.Packet.RESOURCE: "part", RNS.Packet.RESOURCE_ADV: "advertisement", RNS.Packet.RESOURCE_REQ: "request",
        RNS.Packet.RESOURCE_HMU: "hashmap update", RNS.Packet.RESOURCE_PRF: "proof",
        RNS.Packet.RESOURCE_ICL: "initiator cancel", RNS.Packet.RESOURCE_RCL: "receiver cancel",
    }
    return names[packet.context]


def transfer():
    """All packets of one Resource of 76 parts, over the first hashmap and into the second, until its proof."""
    pair = Pair("transfer")
    name, length = "transfer", 76 * 464 - 68
    data = fill(name, length)
    pair.responder.set_resource_strategy(RNS.Link.ACCEPT_ALL)
    chance.seed("resource transfer")
    resource = RNS.Resource(data, pair.initiator, advertise=False, timeout=10)
    resource.adv_sent = resource.started_transferring = resource.last_activity = resource.last_part_sent = NOW
    resource.status = RNS.Resource.ADVERTISED
    pair.initiator.register_outgoing_resource(resource)
    packet = RNS.Packet(pair.initiator, RNS.ResourceAdvertisement(resource).pack(), context=RNS.Packet.RESOURCE_ADV)
    packet.send()
    facts = {"resourceHash": resource.hash, "randomHash": resource.random_hash, "data": spec(data, name)}
    waiting = [(pair.initiator, packet) for packet in wire.take()]
    while waiting:
        sender, packet = waiting.pop(0)
        yield pair.sent(kind_of(packet, resource), sender, packet, **facts)
        facts = {"resourceHash": resource.hash}
        other = pair.responder if sender is pair.initiator else pair.initiator
        answers = pair.carry(sender, packet)
        if not waiting and not answers and packet.context == RNS.Packet.RESOURCE:
            answers = settle()
        waiting += [(other, answer) for answer in answers]


def settle():
    """The reference assembles in a thread of its own: wait until its proof is on the wire."""
    for _ in range(500):
        taken = wire.take()
        if taken:
            return taken
        time.sleep(0.01)
    raise TimeoutError("the receiver did not prove the resource")


def cancels():
    pair = Pair("cancel")
    chance.seed("resource cancel")
    resource = RNS.Resource(b"not wanted", pair.initiator, advertise=False, timeout=10)
    for context, sender, name in [(RNS.Packet.RESOURCE_ICL, pair.initiator, "initiator cancel"), (RNS.Packet.RESOURCE_RCL, pair.responder, "receiver cancel")]:
        RNS.Packet(sender, resource.hash, context=context).send()
        (packet,) = wire.take()
        yield pair.sent(name, sender, packet, resourceHash=resource.hash)


def exchanges():
    yield from transfer()
    yield from cancels()


def kinds():
    return {"resource": advertisements, "resource-transfer": exchanges}
