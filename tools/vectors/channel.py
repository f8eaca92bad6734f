"""Vectors of Channels and Buffers: envelopes, chunks of streams, packets on a link, windows and time-outs."""

import bz2

import RNS
from RNS.Buffer import RawChannelWriter, StreamDataMessage
from RNS.Channel import Channel, Envelope, LinkChannelOutlet, MessageBase

from lab import case, fill, wire
from link import Pair


def message(number, data):
    class Made(MessageBase):
        MSGTYPE = number

        def pack(self):
            return data

        def unpack(self, raw):
            self.data = raw

    return Made()


def envelopes():
    for name, number, sequence, data in [
        ("nothing in it", 0, 0, b""),
        ("some text", 0x0101, 1, b"over the channel"),
        ("the last sequence", 0xABCD, 0xFFFF, b"\x00"),
        ("the last type of an application", 0xEFFF, 0x8000, fill("envelope", 425)),
    ]:
        raw = Envelope(outlet=None, message=message(number, data), sequence=sequence).pack()
        yield case(f"envelope: {name}", raw, kind="envelope", type=number, sequence=sequence, data=data)


def chunks():
    text = b"the mesh carries what it is given. " * 200
    for name, stream, data, end, compressed in [
        ("nothing, not the end", 0, b"", False, False),
        ("the end alone", 5, b"", True, False),
        ("data", 1, b"a piece of a stream", False, False),
        ("data and the end", 0x3FFF, fill("chunk", 300), True, False),
        ("compressed", 2, text, False, True),
        ("compressed and the end", 0x1234, text[:500], True, True),
    ]:
        body = bz2.compress(data) if compressed else data
        raw = StreamDataMessage(stream, body, end, compressed).pack()
        back = StreamDataMessage()
        back.unpack(raw)
        assert back.data == data and back.eof == end and back.stream_id == stream
        yield case(f"stream: {name}", raw, kind="stream", streamId=stream, end=end, compressed=compressed, data=data)
    for name, length in [("as much as may be", RawChannelWriter.MAX_CHUNK_LEN), ("a byte too much", RawChannelWriter.MAX_CHUNK_LEN + 1)]:
        raw = StreamDataMessage(3, bz2.compress(bytes(length)), False, True).pack()
        try:
            StreamDataMessage().unpack(raw)
            refused = False
        except OSError:
            refused = True
        yield case(f"stream: decompressed it is {name}", raw, kind="stream", streamId=3, end=False, compressed=True, length=length, refused=refused)


def packets():
    """A message each way on a link, with their proofs."""
    pair = Pair("channel", 500)
    one, two = pair.initiator, pair.responder
    for sender, receiver, number, data in [(one, two, 0x0101, b"over the channel"), (two, one, 0x0202, b"and back")]:
        got = []
        made = type(message(number, data))
        receiver.get_channel().register_message_type(made)
        receiver.get_channel().add_message_handler(lambda heard: got.append(heard.data) or True)
        sender.get_channel().send(made())
        (sent,) = wire.take()
        side = "initiator" if sender is one else "responder"
        yield pair.sent(f"message of the {side}", sender, sent, type=number, data=data)
        (proof,) = pair.carry(sender, sent)
        assert got == [data]
        yield pair.sent(f"proof of the message of the {side}", receiver, proof, provedHash=sent.packet_hash)


class Outlet:
    """A link that only has a round trip."""

    def __init__(self, rtt):
        self.rtt = rtt
        self.is_usable = True

    def get_packet_id(self, packet):
        return packet

    def get_packet_state(self, packet):
        return None

    def resend(self, packet):
        return packet

    def set_packet_delivered_callback(self, *_):
        pass

    set_packet_timeout_callback = set_packet_delivered_callback


def windows():
    for rtt in [0.0, 0.001, 0.18, 0.181, 0.75, 0.751, 1.45, 1.451]:
        outlet = Outlet(rtt)
        channel = Channel(outlet)
        rows = [[None, channel.window, channel.window_min, channel.window_max, channel.window_flexibility]]
        for step in ["proven"] * 70 + ["late"] * 40 + ["proven"] * 5:
            envelope = Envelope(outlet, message=message(1, b""), sequence=len(rows))
            envelope.packet, envelope.tries = object(), 1
            channel._tx_ring.append(envelope)
            if step == "proven":
                channel._packet_delivered(envelope.packet)
            else:
                channel._packet_timeout(envelope.packet)
                channel._tx_ring.clear()
            rows.append([step, channel.window, channel.window_min, channel.window_max, channel.window_flexibility])
        yield case(f"window: round trip {rtt} s", b"", kind="window", rtt=rtt, steps=rows)


def timeouts():
    rows = []
    for rtt in [0.0005, 0.01, 0.02, 0.3, 2.0]:
        for tries in range(1, 6):
            for depth in [0, 1, 4, 47]:
                channel = Channel(LinkChannelOutlet(Outlet(rtt)))
                channel._tx_ring.extend(Envelope(None, sequence=at) for at in range(depth))
                rows.append({"rtt": rtt, "tries": tries, "outstanding": depth, "timeout": channel._get_packet_timeout_time(tries)})
    yield case("time-outs", b"", kind="timeouts", rows=rows)


def channels():
    yield from envelopes()
    yield from chunks()
    yield from packets()
    yield from windows()
    yield from timeouts()


def kinds():
    return {"channel": channels}
