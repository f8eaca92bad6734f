"""Channel and Buffer commands of a peer."""

import hashlib
import threading
import time

import RNS

from peer import command, event, payload, wait_until
from peer_rns import links

readers = {}


class Said(RNS.MessageBase):
    MSGTYPE = 0x0101

    def __init__(self, data=b""):
        self.data = data

    def pack(self):
        return self.data

    def unpack(self, raw):
        self.data = raw


@command()
def channel_open(link, echo=False):
    """Opens the channel of a link and reports, or sends back, what comes over it."""
    channel = links[link].get_channel()
    channel.register_message_type(Said)

    def heard(message):
        if not isinstance(message, Said):
            return False
        event("channel message", link=link, data=message.data.hex())
        if echo:
            threading.Thread(target=send_one, args=(channel, message.data), daemon=True).start()
        return True

    channel.add_message_handler(heard)
    return {"mdu": channel.mdu}


def send_one(channel, data, timeout=60):
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if wait_until(channel.is_ready_to_send, 1, every=0.001):
            try:
                return channel.send(Said(data))
            except RNS.Channel.ChannelException as error:
                if error.type != RNS.Channel.CEType.ME_LINK_NOT_READY:
                    raise
    raise TimeoutError("the channel was never ready")


@command(slow=True)
def channel_send(link, texts, timeout=60):
    """Sends messages one behind the other, and waits until all are proven."""
    channel = links[link].get_channel()
    for text in texts:
        send_one(channel, text.encode("utf-8"), timeout)
    done = wait_until(lambda: len(channel._tx_ring) == 0, timeout)
    return {"delivered": done and links[link].status == RNS.Link.ACTIVE, "window": channel.window}


@command()
def channel_state(link):
    channel = links[link].get_channel()
    return {
        "next": channel._next_rx_sequence,
        "held": [envelope.sequence for envelope in channel._rx_ring],
        "sending": [[envelope.sequence, envelope.tries] for envelope in channel._tx_ring],
    }


@command()
def buffer_read(link, stream):
    """Reads a stream to its end, which is reported."""
    digest, size = hashlib.sha256(), 0
    buffer = RNS.Buffer.create_reader(stream, links[link].get_channel())
    readers[link, stream] = buffer

    def read():
        nonlocal size
        while not (buffer.raw._eof and not buffer.raw._buffer):
            data = buffer.raw._read(65536)
            if data:
                digest.update(data)
                size += len(data)
            else:
                time.sleep(0.002)
        event("stream", link=link, stream=stream, size=size, sha256=digest.hexdigest())

    threading.Thread(target=read, daemon=True).start()
    return True


@command(slow=True)
def buffer_write(link, stream, timeout=60, **what):
    """Writes a stream and its end; waits until all of it is proven."""
    data = payload(what)
    channel = links[link].get_channel()
    writer = RNS.RawChannelWriter(stream, channel)
    until = time.monotonic() + timeout
    at = 0
    while at < len(data) and time.monotonic() < until:
        written = writer.write(data[at:])
        at += written
        if not written:
            time.sleep(0.001)
    wait_until(channel.is_ready_to_send, timeout)
    writer._eof = True
    writer.write(b"")
    done = wait_until(lambda: len(channel._tx_ring) == 0, timeout)
    return {"delivered": done, "size": at, "sha256": hashlib.sha256(data).hexdigest()}
