"""Vectors of LXMF: messages with every field, their packets, delivery announce data, and the msgpack beneath them."""

import types

import LXMF
import RNS
from LXMF import LXMessage, LXStamper
from RNS.vendor import umsgpack

from lab import NOW, case, chance, fill, identity


def tagged(value):
    """JSON that keeps msgpack's types: bytes {hex}, float {float}, big int {int}, map {map: [[key, value]]}."""
    if isinstance(value, (bytes, bytearray)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, int):
        return value if abs(value) < 2**53 else {"int": str(value)}
    if isinstance(value, dict):
        return {"map": [[tagged(key), tagged(item)] for key, item in value.items()]}
    return [tagged(item) for item in value]


def msgpacks():
    wanted = {
        "nil": None, "true": True, "false": False,
        **{f"int {number}": number for number in [
            0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, 2**63 - 1, 2**64 - 1,
            -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**53) + 1, -(2**63),
        ]},
        **{f"float {number}": number for number in [0.0, 1.0, -1.0, 0.5, 1.1, NOW, 1760000000.0, 1e300, 5e-324]},
        **{f"bin of {size}": fill("bin", size) for size in [0, 1, 31, 32, 255, 256, 65536]},
        **{f"text of {size}": "x" * size for size in [0, 1, 31, 32, 255, 256, 65536]},
        "text beyond ascii": "héllo wörld ☀ 🛰 日本語",
        **{f"array of {size}": [1] * size for size in [0, 1, 15, 16, 1000]},
        **{f"map of {size}": {key: None for key in range(size)} for size in [0, 1, 15, 16, 300]},
        "map with keys of every kind": {1: b"one", "two": 2, b"\x03": "three", -4: [4], True: None, 1.5: {}},
        "nested": [[[[[[[[b"deep"]]]]]]]],
        "message shape": [NOW, b"title", b"content", {5: [[b"name", b"bytes"]]}, fill("stamp", 32)],
    }
    for name, value in wanted.items():
        yield case(name, umsgpack.packb(value), value=tagged(value))


def delivery(owner, direction=RNS.Destination.OUT):
    made = RNS.Destination(owner, direction, RNS.Destination.SINGLE, "lxmf", "delivery")
    if direction == RNS.Destination.IN:
        RNS.Transport.deregister_destination(made)
    return made


METHODS = {LXMessage.OPPORTUNISTIC: "opportunistic", LXMessage.DIRECT: "direct", LXMessage.PROPAGATED: "propagated", LXMessage.PAPER: "paper"}
REPRESENTATIONS = {LXMessage.PACKET: "packet", LXMessage.RESOURCE: "resource", LXMessage.PAPER: "paper"}


def compose(title, content="", heading="", fields=None, desired=LXMessage.DIRECT, timestamp=NOW, cost=None, ticket=None, sender="alice", to="bob"):
    chance.seed(f"message {title}")
    message = LXMessage(delivery(identity(to)), delivery(identity(sender), RNS.Destination.IN), content, heading, fields, desired_method=desired)
    message.timestamp = timestamp
    if cost is not None:
        message.pack()
        message.stamp_cost, message.defer_stamp, message.packed = cost, False, None
        message.stamp = mint(message.message_id, cost)
    if ticket is not None:
        message.outbound_ticket, message.defer_stamp = ticket, False
    message.pack()
    return message


def mint(message_id, cost):
    """The first stamp of a fixed series that is worth the cost."""
    block = LXStamper.stamp_workblock(message_id)
    for counter in range(1 << 20):
        stamp = fill(f"stamp {counter}", 32)
        if LXStamper.stamp_valid(stamp, cost, block):
            return stamp
    raise ValueError("no stamp found")


def stamp_value(message):
    return LXStamper.stamp_value(LXStamper.stamp_workblock(message.message_id), message.stamp)


def message_case(title, sender="alice", to="bob", **how):
    message = compose(title, sender=sender, to=to, **how)
    return case(
        title,
        message.packed,
        sourcePrivateKey=identity(sender).get_private_key(),
        sourcePublicKey=identity(sender).get_public_key(),
        source=message.source_hash,
        destination=message.destination_hash,
        signature=message.signature,
        id=message.hash,
        timestamp=tagged(message.timestamp),
        title=message.title,
        content=message.content,
        fields=tagged(message.fields),
        stamp=message.stamp,
        stampCost=how.get("cost"),
        stampValue=stamp_value(message) if how.get("cost") is not None else None,
        ticket=how.get("ticket"),
        desired=METHODS[how.get("desired", LXMessage.DIRECT)],
        method=METHODS[message.method],
        representation=REPRESENTATIONS[message.representation],
    )


FIRST = fill("first message", 32)
FIELDS = {
    "attachments": {LXMF.FIELD_FILE_ATTACHMENTS: [["notes.txt", b"read me"], ["план.bin", fill("attachment", 300)]]},
    "an attachment named in bytes": {LXMF.FIELD_FILE_ATTACHMENTS: [[b"notes.txt", b"read me"]]},
    "an empty attachment": {LXMF.FIELD_FILE_ATTACHMENTS: [["empty", b""]]},
    "an image": {LXMF.FIELD_IMAGE: ["webp", fill("image", 200)]},
    "audio": {LXMF.FIELD_AUDIO: [LXMF.AM_OPUS_OGG, fill("audio", 200)]},
    "a reply": {LXMF.FIELD_REPLY_TO: FIRST},
    "a reply with a quote": {LXMF.FIELD_REPLY_TO: FIRST, LXMF.FIELD_REPLY_QUOTE: "as you said: ☀".encode()},
    "a reaction": {LXMF.FIELD_REACTION: {LXMF.REACTION_TO: FIRST, LXMF.REACTION_CONTENT: "👍".encode()}},
    "a comment": {LXMF.FIELD_COMMENT: {LXMF.COMMENT_FOR: FIRST}},
    "a continuation": {LXMF.FIELD_CONTINUATION: {LXMF.CONTINUATION_OF: FIRST}},
    "a thread": {LXMF.FIELD_THREAD: FIRST},
    "telemetry": {LXMF.FIELD_TELEMETRY: umsgpack.packb({1: 1760000000, 2: [fill("lat", 4), fill("lon", 4)]})},
    "a telemetry stream": {LXMF.FIELD_TELEMETRY_STREAM: [[fill("peer", 16), 1760000000, b"\x80", None]]},
    "an icon": {LXMF.FIELD_ICON_APPEARANCE: ["antenna", b"\xff\xff\xff", b"\x00\x20\x40"]},
    "commands and results": {LXMF.FIELD_COMMANDS: [{1: b"ping"}, {2: None}], LXMF.FIELD_RESULTS: {1: "pong"}},
    "a group": {LXMF.FIELD_GROUP: b"group id"},
    "a ticket": {LXMF.FIELD_TICKET: [1762000000.0, fill("ticket", 16)]},
    "an event": {LXMF.FIELD_EVENT: [1, "joined"]},
    "a renderer": {LXMF.FIELD_RENDERER: LXMF.RENDERER_MARKDOWN},
    "references": {LXMF.FIELD_RNR_REFS: [fill("ref", 32)]},
    "custom type, data and meta": {
        LXMF.FIELD_CUSTOM_TYPE: b"klp/1", LXMF.FIELD_CUSTOM_DATA: umsgpack.packb({"p": 1}), LXMF.FIELD_CUSTOM_META: {"priority": "high"},
    },
    "non-specific and debug fields": {LXMF.FIELD_NON_SPECIFIC: b"anything", LXMF.FIELD_DEBUG: [None, True, -1]},
    "an embedded message": {LXMF.FIELD_EMBEDDED_LXMS: [fill("embedded", 140)]},
    "unknown fields": {0x7E: b"reserved", 0x1234: {"text": [1, 2.5, None, True, b"\x00"]}, "named": -1, 2**40: []},
    "many fields": {number: fill(f"field {number}", 3) for number in range(0x20)},
}


def messages():
    yield message_case("text", content="Hello Bob, this is Alice.")
    yield message_case("text and title", content="See you at noon.", heading="Meeting")
    yield message_case("unicode", content="Ünïcødé ☀ 🛰 日本語 \u0000 end", heading="Заголовок")
    yield message_case("empty body")
    yield message_case("title only", heading="only a title")
    yield message_case("bytes that are not text", content=b"\xff\xfe\x00\x80", heading=b"\xc3\x28")
    yield message_case("an integral timestamp", content="on the second", timestamp=1760000000.0)
    yield message_case("a timestamp before 1970", content="early", timestamp=-1.5)
    yield message_case("from carol to alice", content="hi", sender="carol", to="alice")
    yield message_case("20 kB of text", content="0123456789abcdef" * 1280)
    for name, fields in FIELDS.items():
        yield message_case(name, content=f"with {name}", fields=fields)
    yield message_case("a stamp of cost 8", content="stamped", cost=8)
    yield message_case("a stamp of cost 8 and fields", content="stamped", fields=FIELDS["attachments"], cost=8)
    yield message_case("a stamp made from a ticket", content="stamped", ticket=fill("ticket", 16))


def representations():
    """Which packet or Resource carries a message, to the byte where the answer changes."""
    for desired, limit in [(LXMessage.OPPORTUNISTIC, LXMessage.ENCRYPTED_PACKET_MAX_CONTENT), (LXMessage.DIRECT, LXMessage.LINK_PACKET_MAX_CONTENT)]:
        empty = compose("empty", desired=desired)
        base = empty.packed_size - 96 - LXMessage.TIMESTAMP_SIZE - LXMessage.STRUCT_OVERHEAD
        for over in [-1, 0, 1, 2]:
            content = "x" * (limit - base + over - (1 if limit - base + over > 255 else 0))
            yield message_case(f"{METHODS[desired]}, {over:+d} bytes from the limit", content=content, desired=desired)


def opportunistic():
    for ratcheted in [False, True]:
        title = "an opportunistic packet" + (" under a ratchet" if ratcheted else "")
        message = compose(title, content="hello", heading="hi", desired=LXMessage.OPPORTUNISTIC)
        private = fill("bob ratchet", 32) if ratcheted else None
        if ratcheted:
            RNS.Identity.known_ratchets[message.destination_hash] = RNS.Identity._ratchet_public_bytes(private)
        chance.seed(title)
        packet = message._LXMessage__as_packet()
        packet.pack()
        RNS.Identity.known_ratchets.pop(message.destination_hash, None)
        yield case(
            title,
            packet.raw,
            destinationPrivateKey=identity("bob").get_private_key(),
            ratchetPrivate=private,
            ephemeralPrivate=chance.draws[0],
            iv=chance.draws[1],
            plaintext=message.packed[16:],
            packed=message.packed,
            id=message.hash,
            hash=packet.packet_hash,
        )


def foreign():
    """Messages as other implementations may pack them: what the reference makes of their id and signature."""
    sender, there = identity("alice"), delivery(identity("bob"))
    source = delivery(sender)
    head = there.hash + source.hash
    stamp = fill("foreign stamp", 32)
    body = [NOW, b"title", b"content", {}]

    def signed(payload, hashed):
        identifier = RNS.Identity.full_hash(head + hashed)
        return head + sender.sign(head + hashed + identifier) + payload

    canonical = umsgpack.packb(body)
    wide = b"\xdc\x00\x04" + canonical[1:]
    whole = umsgpack.packb([1760000000, b"title", b"content", {}])
    text = umsgpack.packb([NOW, "title", "content", {}])
    wanted = {
        "an array header wider than needed": signed(wide, wide),
        "a timestamp that is an int": signed(whole, whole),
        "title and content as text": signed(text, text),
        "a stamp behind a wide array header": signed(b"\xdc\x00\x05" + canonical[1:] + umsgpack.packb(stamp), canonical),
        "a stamp and a signature over the wide form": signed(b"\xdc\x00\x05" + canonical[1:] + umsgpack.packb(stamp), wide),
        "a stamp that is nil": signed(umsgpack.packb([*body, None]), canonical),
        "six elements": signed(umsgpack.packb([*body, stamp, b"more"]), canonical),
    }
    RNS.Identity.remember(None, source.hash, sender.get_public_key(), None)
    for name, packed in wanted.items():
        heard = LXMessage.unpack_from_bytes(packed)
        yield case(
            name, packed, sourcePublicKey=sender.get_public_key(), id=heard.hash, verified=heard.signature_validated,
            timestamp=tagged(heard.timestamp), title=tagged(heard.title), content=tagged(heard.content), stamp=tagged(heard.stamp),
        )
    forged = bytearray(wanted["a timestamp that is an int"])
    forged[40] ^= 1
    heard = LXMessage.unpack_from_bytes(bytes(forged))
    yield case("a forged signature", forged, sourcePublicKey=sender.get_public_key(), id=heard.hash, verified=heard.signature_validated)


def announce_data():
    owner = delivery(identity("alice"))
    for name, cost in [("Alice", None), (None, None), ("", None), ("Ålice ☀", None), ("Alice", 8), ("Alice", 254), ("Alice", 0), ("A" * 300, 16)]:
        router = types.SimpleNamespace(delivery_destinations={owner.hash: types.SimpleNamespace(display_name=name, stamp_cost=cost)})
        made = LXMF.LXMRouter.get_announce_app_data(router, owner.hash)
        shown = LXMF.display_name_from_app_data(made)
        yield case(
            f"{'no name' if name is None else repr(name[:12])}, stamp cost {cost}",
            made, displayName=name, stampCost=LXMF.stamp_cost_from_app_data(made), features=[0], shown=shown,
        )
    for name, raw in {"the older form, a bare name": "Old Node".encode(), "nothing": b"", "features missing": umsgpack.packb([b"Bob", 4]), "a list of nothing": b"\x90", "a name that is not text": umsgpack.packb([b"\xff\xfe", None, [0]])}.items():
        yield case(
            name, raw, heard=True, shown=LXMF.display_name_from_app_data(raw), stampCost=LXMF.stamp_cost_from_app_data(raw),
            compression=bool(LXMF.compression_support_from_app_data(raw)),
        )


def kinds():
    return {
        "msgpack": msgpacks,
        "lxmf": messages,
        "lxmf-representation": representations,
        "lxmf-opportunistic": opportunistic,
        "lxmf-foreign": foreign,
        "lxmf-announce-data": announce_data,
    }
