"""LXMF commands of a peer: announce, send, state, received, forge."""

import os

import LXMF
import RNS

from peer import command, event, from_wire, to_wire, wait_until
from peer_node import node

LXMessage = LXMF.LXMessage
METHODS = {LXMessage.OPPORTUNISTIC: "opportunistic", LXMessage.DIRECT: "direct", LXMessage.PROPAGATED: "propagated", LXMessage.PAPER: "paper"}
STATES = {
    LXMessage.GENERATING: "generating", LXMessage.OUTBOUND: "outbound", LXMessage.SENDING: "sending", LXMessage.SENT: "sent",
    LXMessage.DELIVERED: "delivered", LXMessage.REJECTED: "rejected", LXMessage.CANCELLED: "cancelled", LXMessage.FAILED: "failed",
}
REASONS = {LXMessage.SOURCE_UNKNOWN: "source unknown", LXMessage.SIGNATURE_INVALID: "signature invalid"}
sent = {}
inbox = []


def text_of(raw):
    try:
        return raw.decode("utf-8") if isinstance(raw, bytes) else raw
    except UnicodeDecodeError:
        return None


def described(message):
    return {
        "hash": message.hash.hex(),
        "source": message.source_hash.hex(),
        "destination": message.destination_hash.hex(),
        "title": text_of(message.title),
        "content": text_of(message.content),
        "titleHex": message.title.hex() if isinstance(message.title, bytes) else None,
        "contentHex": message.content.hex() if isinstance(message.content, bytes) else None,
        "fields": to_wire(message.fields),
        "timestamp": message.timestamp,
        "method": METHODS.get(message.method),
        "packed": message.packed.hex() if message.packed else None,
    }


def received_message(message):
    """The router's delivery callback: every message it accepts, once."""
    heard = {
        **described(message),
        "verified": bool(message.signature_validated),
        "unverifiedReason": REASONS.get(message.unverified_reason),
        "stamped": message.stamp is not None,
        "stampValid": bool(message.stamp_valid),
        "stampValue": message.stamp_value,
        "encrypted": bool(message.transport_encrypted),
        "ratchet": message.ratchet_id.hex() if message.ratchet_id else None,
    }
    inbox.append(heard)
    event("message", **heard)


def progressed(message):
    event("delivery", hash=message.hash.hex(), state=STATES.get(message.state), method=METHODS.get(message.method))


@command()
def announce(destination=None, appData=None):
    """Announces the delivery destination, or one made by `destination` or `forge`."""
    if destination is None:
        node.router.announce(node.delivery.hash)
    else:
        from peer_rns import destinations

        destinations[destination].announce(app_data=bytes.fromhex(appData) if appData is not None else None)
    return True


def recipient(to, timeout):
    """The delivery destination `to`, after a path request if its identity is not known yet."""
    there = bytes.fromhex(to)
    if RNS.Identity.recall(there) is None:
        RNS.Transport.request_path(there)
        wait_until(lambda: RNS.Identity.recall(there) is not None, timeout)
    known = RNS.Identity.recall(there)
    if known is None:
        raise LookupError(f"no announce of {to} was heard")
    return RNS.Destination(known, RNS.Destination.OUT, RNS.Destination.SINGLE, "lxmf", "delivery")


def raw_text(value):
    return from_wire(value) if isinstance(value, dict) else value


def compose(to, source, content, title, fields, method, timeout, timestamp=None, replyTo=None):
    desired = {name: code for code, name in METHODS.items()}[method]
    carried = from_wire(fields or {})
    if replyTo is not None:
        carried[LXMF.FIELD_REPLY_TO] = bytes.fromhex(replyTo)
    message = LXMessage(recipient(to, timeout), source, raw_text(content), raw_text(title), carried, desired_method=desired)
    if timestamp is not None:
        message.timestamp = timestamp
    return message


def post(message):
    message.register_delivery_callback(progressed)
    message.register_failed_callback(progressed)
    node.router.handle_outbound(message)
    sent[message.hash.hex()] = message
    return state(message.hash.hex())


@command(slow=True)
def send(to, content="", title="", fields=None, method="direct", replyTo=None, timestamp=None, includeTicket=False, timeout=15):
    """Hands one message to the router and answers at once; `delivery` events and `state` tell what becomes of it."""
    message = compose(to, node.delivery, content, title, fields, method, timeout, timestamp, replyTo)
    message.include_ticket = includeTicket
    return post(message)


@command()
def state(hash):
    message = sent[hash]
    return {
        **described(message),
        "state": STATES.get(message.state),
        "attempts": message.delivery_attempts,
        "progress": message.progress,
        "representation": {LXMessage.PACKET: "packet", LXMessage.RESOURCE: "resource"}.get(message.representation),
        "stampCost": message.stamp_cost,
    }


@command(slow=True)
def delivered(hash, timeout=30):
    """Waits until a message has reached an end, and says which."""
    ends = ["delivered", "rejected", "cancelled", "failed"]
    wait_until(lambda: STATES.get(sent[hash].state) in ends, timeout)
    return STATES.get(sent[hash].state)


@command()
def cancel(hash):
    node.router.cancel_outbound(bytes.fromhex(hash))
    return True


@command()
def received():
    return inbox


@command()
def stamp_cost(cost):
    """Asks for stamps of this cost from the next announce on; none with null."""
    return node.router.set_inbound_stamp_cost(node.delivery.hash, cost)


@command(slow=True)
def forge(to, kind="signature", content="forged", title="", fields=None, method="opportunistic", source=None, timeout=15):
    """Sends a message that is wrong in one way.

    signature   one bit of the signature is flipped
    source      signed by this peer, but naming `source` as its sender
    stranger    valid, from an identity that has announced nothing; `announce` can do so later with `sender`
    garbage     the msgpack is replaced by random bytes
    """
    stranger = kind == "stranger"
    sender = RNS.Destination(RNS.Identity(), RNS.Destination.IN, RNS.Destination.SINGLE, "lxmf", "delivery") if stranger else node.delivery
    if stranger:
        from peer_rns import destinations

        destinations[sender.hash.hex()] = sender
    message = compose(to, sender, content, title, fields, method, timeout)
    message.pack()
    packed = bytearray(message.packed)
    if kind == "signature":
        packed[40] ^= 1
    elif kind == "source":
        packed[16:32] = bytes.fromhex(source)
    elif kind == "garbage":
        packed[96:] = os.urandom(len(packed) - 96)
    message.packed = bytes(packed)
    return {**post(message), "sender": sender.hash.hex()}
