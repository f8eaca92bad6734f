"""Reticulum commands of a peer: paths, destinations, packets, links, requests, Resources, raw bytes."""

import hashlib
import os
import threading
import time

import RNS

from peer import command, event, from_wire, payload, to_wire, wait_until
from peer_node import node

STATUS = {RNS.Link.PENDING: "pending", RNS.Link.HANDSHAKE: "handshake", RNS.Link.ACTIVE: "active", RNS.Link.STALE: "stale", RNS.Link.CLOSED: "closed"}
REASONS = {RNS.Link.TIMEOUT: "timeout", RNS.Link.INITIATOR_CLOSED: "initiator closed", RNS.Link.DESTINATION_CLOSED: "destination closed"}
PROOFS = {"none": RNS.Destination.PROVE_NONE, "app": RNS.Destination.PROVE_APP, "all": RNS.Destination.PROVE_ALL}
destinations = {}
links = {}


def outgoing(to, name):
    """The destination `to`, known from an announce, under the name that it must have."""
    known = RNS.Identity.recall(bytes.fromhex(to))
    if known is None:
        raise LookupError(f"no announce of {to} was heard")
    there = RNS.Destination(known, RNS.Destination.OUT, RNS.Destination.SINGLE, *name.split("."))
    if there.hash.hex() != to:
        raise ValueError(f"{to} is not {name} of the identity that announced it")
    return there


@command()
def path(to):
    there = bytes.fromhex(to)
    via = RNS.Transport.next_hop(there)
    known = RNS.Transport.has_path(there)
    return {"known": known, "hops": RNS.Transport.hops_to(there) if known else None, "via": via.hex() if via else None}


@command(slow=True)
def request_path(to, timeout=15):
    """Requests a path and waits for it."""
    there = bytes.fromhex(to)
    RNS.Transport.request_path(there)
    wait_until(lambda: RNS.Transport.has_path(there), timeout)
    return path(to)


@command()
def forget_path(to):
    return bool(RNS.Transport.expire_path(bytes.fromhex(to)))


@command()
def recall(to):
    there = bytes.fromhex(to)
    known = RNS.Identity.recall(there)
    if known is None:
        return None
    data = RNS.Identity.recall_app_data(there)
    ratchet = RNS.Identity.get_ratchet(there)
    return {
        "identity": known.hash.hex(),
        "publicKey": known.get_public_key().hex(),
        "appData": data.hex() if data is not None else None,
        "ratchet": ratchet.hex() if ratchet else None,
    }


@command()
def destination(name, proof="all", ratchets=False, implicit=None):
    """Registers one more destination of this peer, with the request handlers /echo, /size and /nothing."""
    made = RNS.Destination(node.identity, RNS.Destination.IN, RNS.Destination.SINGLE, *name.split("."))
    made.set_proof_strategy(PROOFS[proof])
    made.set_proof_requested_callback(lambda packet: True)
    made.set_packet_callback(lambda data, packet: heard_packet(made.hash, data, packet))
    made.set_link_established_callback(lambda link: adopt(link, made.hash))
    if ratchets:
        made.enable_ratchets(os.path.join(node.configdir, f"{made.hash.hex()}.ratchets"))
    allow = RNS.Destination.ALLOW_ALL
    made.register_request_handler("/echo", lambda path, data, request_id, link_id, remote, at: asked(path, data, link_id, remote, data), allow)
    made.register_request_handler("/size", lambda path, data, request_id, link_id, remote, at: asked(path, data, link_id, remote, os.urandom(data)), allow)
    made.register_request_handler("/nothing", lambda path, data, request_id, link_id, remote, at: asked(path, data, link_id, remote, None), allow)
    destinations[made.hash.hex()] = made
    return {"destination": made.hash.hex()}


@command()
def shared(name, key=None):
    """Registers a group, or a plain destination where there is no key; what comes for it is an event."""
    kind = RNS.Destination.PLAIN if key is None else RNS.Destination.GROUP
    made = RNS.Destination(None if key is None else node.identity, RNS.Destination.IN, kind, *name.split("."))
    if key is not None:
        made.load_private_key(bytes.fromhex(key))
    made.set_packet_callback(lambda data, packet: event("packet", destination=made.hash.hex(), data=data.hex(), hash=packet.packet_hash.hex(), ratchet=None))
    destinations[made.hash.hex()] = made
    return {"destination": made.hash.hex()}


@command()
def shared_send(destination, text):
    """Sends to a group or a plain destination that was registered here."""
    return bool(RNS.Packet(destinations[destination], text.encode("utf-8"), create_receipt=False).send())


def asked(path, data, link_id, remote, answer):
    event("request", link=link_id.hex(), path=path, data=to_wire(data), remote=remote.hash.hex() if remote else None)
    return answer


def heard_packet(there, data, packet):
    event("packet", destination=there.hex(), data=data.hex(), hash=packet.packet_hash.hex(), ratchet=packet.ratchet_id.hex() if packet.ratchet_id else None)


@command(slow=True)
def packet(to, name, timeout=15, **what):
    """Sends one packet, and waits for its proof."""
    made = RNS.Packet(outgoing(to, name), payload(what))
    return proven(made, timeout)


def proven(made, timeout):
    began = time.monotonic()
    receipt = made.send()
    if not receipt:
        return {"sent": False, "proved": False, "hash": made.packet_hash.hex(), "rtt": None}
    receipt.set_timeout(timeout)
    done = wait_until(lambda: receipt.status == RNS.PacketReceipt.DELIVERED, timeout, every=0.0005)
    return {"sent": True, "proved": done, "hash": made.packet_hash.hex(), "rtt": time.monotonic() - began if done else None}


def adopt(link, there):
    """Keeps a link, whichever side opened it, and reports what happens on it."""
    name = link.link_id.hex()
    links[name] = link
    link.set_packet_callback(lambda data, packet: on_link(name, data, packet))
    link.set_link_closed_callback(lambda closed: event("link", link=name, state="closed", reason=REASONS.get(closed.teardown_reason)))
    link.set_remote_identified_callback(lambda _, who: event("link", link=name, state="identified", identity=who.hash.hex()))
    link.set_resource_strategy(RNS.Link.ACCEPT_ALL)
    link.set_resource_started_callback(lambda resource: event("resource", link=name, state="started", hash=resource.hash.hex(), size=resource.total_size))
    link.set_resource_concluded_callback(lambda resource: concluded(name, resource))
    event("link", link=name, state="established", destination=there.hex(), initiator=bool(link.initiator))


def on_link(name, data, packet):
    event("link packet", link=name, data=data.hex(), hash=packet.packet_hash.hex())


def concluded(name, resource):
    complete = resource.status == RNS.Resource.COMPLETE
    facts = {"link": name, "state": "complete" if complete else "failed", "hash": resource.hash.hex(), "original": resource.original_hash.hex()}
    if complete:
        data = resource.data.read()
        metadata = getattr(resource, "metadata", None)
        facts |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "metadata": to_wire(metadata) if metadata else None}
    event("resource", **facts)


def described(link):
    return {
        "link": link.link_id.hex(),
        "state": STATUS.get(link.status),
        "rtt": link.rtt,
        "mtu": link.mtu,
        "mdu": link.mdu,
        "initiator": bool(link.initiator),
        "remote": link.get_remote_identity().hash.hex() if link.get_remote_identity() else None,
    }


@command(slow=True)
def link_open(to, name, timeout=15):
    there = outgoing(to, name)
    ready = threading.Event()

    def established(link):
        adopt(link, there.hash)
        ready.set()

    link = RNS.Link(there, established_callback=established)
    if not ready.wait(timeout):
        link.teardown()
        raise TimeoutError(f"no link to {to} within {timeout} s")
    return described(link)


@command()
def link_state(link):
    return described(links[link])


@command(slow=True)
def link_send(link, timeout=15, **what):
    """Sends one packet over a link, and waits for its proof; a destination with proof `none` never gives one."""
    # Its own patience of six round trips may be over before ours is set: a busy machine is no lost packet.
    links[link].traffic_timeout_factor = 100_000
    return proven(RNS.Packet(links[link], payload(what)), timeout)


@command()
def link_prove_all(link):
    """Proves every packet from now on, on a link whose destination does not."""
    links[link].destination.set_proof_strategy(RNS.Destination.PROVE_ALL)
    return True


@command()
def link_identify(link):
    links[link].identify(node.identity)
    return True


@command(slow=True)
def link_request(link, path, data=None, timeout=30):
    """Sends a request and waits for its response; data is bytes as {"hex"} or any value."""
    done = threading.Event()
    receipt = links[link].request(path, from_wire(data), response_callback=lambda _: done.set(), failed_callback=lambda _: done.set(), timeout=timeout)
    if not receipt:
        raise ConnectionError("the request could not be sent")
    done.wait(timeout + 5)
    ready = receipt.get_status() == RNS.RequestReceipt.READY
    answer = receipt.get_response()
    known = {"ready": ready, "id": receipt.get_request_id().hex(), "response": to_wire(answer), "rtt": receipt.get_response_time() if ready else None}
    if ready and isinstance(answer, bytes):
        known |= {"size": len(answer), "sha256": hashlib.sha256(answer).hexdigest()}
    return known


@command(slow=True)
def resource_send(link, compress=True, metadata=None, timeout=120, **what):
    """Sends a Resource and waits until it has ended on either side."""
    data = payload(what)
    done = threading.Event()
    began = time.monotonic()
    extra = {"metadata": from_wire(metadata)} if metadata is not None else {}
    resource = RNS.Resource(data, links[link], auto_compress=compress, callback=lambda _: done.set(), **extra)
    done.wait(timeout)
    status = {RNS.Resource.COMPLETE: "complete", RNS.Resource.REJECTED: "rejected", RNS.Resource.FAILED: "failed"}.get(resource.status, str(resource.status))
    return {
        "status": status,
        "hash": resource.hash.hex(),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "compressed": bool(resource.compressed),
        "seconds": time.monotonic() - began,
    }


@command()
def resource_cancel(link):
    """Cancels whatever is on its way over a link, in either direction; gives how many there were."""
    moving = list(links[link].outgoing_resources) + list(links[link].incoming_resources)
    for resource in moving:
        resource.cancel()
    return len(moving)


@command()
def link_refuse(link):
    """Refuses every Resource that is advertised on a link from now on."""
    links[link].set_resource_strategy(RNS.Link.ACCEPT_APP)
    links[link].set_resource_callback(lambda advertisement: False)
    return True


@command()
def link_close(link):
    links[link].teardown()
    return True


def put_on_every_interface(raw):
    count = 0
    for interface in list(RNS.Transport.interfaces):
        if interface.OUT and interface.online:
            interface.process_outgoing(raw)
            count += 1
    return count


@command()
def inject(hex, times=1):
    """Puts any bytes on the wire as one frame, behind Transport's back."""
    return sum(put_on_every_interface(bytes.fromhex(hex)) for _ in range(times))


@command()
def replay(destination=None, times=1):
    """Sends the last packet to `destination` again, byte for byte; the last of all without one."""
    for raw in reversed(node.sent_raw):
        at = 18 if raw[0] & 0x40 else 2
        if destination is None or raw[at : at + 16].hex() == destination:
            return {"hex": raw.hex(), "interfaces": sum(put_on_every_interface(raw) for _ in range(times))}
    raise LookupError("nothing was sent there yet")
