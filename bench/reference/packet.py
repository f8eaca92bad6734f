"""Single packets, each proven, at most `window` of them on their way."""

import os
import threading
import time

import RNS

from node import destination, ms_since, outgoing, run

NAME = ("bench", "packet")


def serve(task):
    made = destination(*NAME)
    made.set_proof_strategy(RNS.Destination.PROVE_ALL)
    return made.hash


def measure(task):
    there = outgoing(task, *NAME)
    send_all(there, task["warmup"], task)
    leave_outstanding(task.get("outstanding", 0))
    return send_all(there, task["count"], task)


def leave_outstanding(count):
    """Packets to somebody who is not there."""
    nobody = RNS.Destination(RNS.Identity(), RNS.Destination.OUT, RNS.Destination.SINGLE, *NAME)
    for _ in range(count):
        RNS.Packet(nobody, os.urandom(100)).send().set_timeout(3600)


def send_all(there, count, task):
    room, data = threading.Semaphore(task["window"]), os.urandom(task["size"])
    each, lost = [], []
    began = time.perf_counter()
    for _ in range(count):
        room.acquire()
        send(RNS.Packet(there, data), each, lost, room)
    for _ in range(task["window"]):
        room.acquire()
    return {"each": each, "total": ms_since(began), "lost": len(lost)}


def send(packet, each, lost, room):
    """The proof may be here before the callback is set, so its receipt is looked at once more after that."""
    once = threading.Lock()
    sent = time.perf_counter()

    def concluded(kept, value):
        if once.acquire(blocking=False):
            kept.append(value)
            room.release()

    receipt = packet.send()
    receipt.set_timeout(20)
    receipt.set_delivery_callback(lambda _: concluded(each, ms_since(sent)))
    receipt.set_timeout_callback(lambda _: concluded(lost, 1))
    if receipt.status == RNS.PacketReceipt.DELIVERED:
        concluded(each, ms_since(sent))


run(serve, measure)
