"""LXMF messages over an open link: one at a time, or many queued at once."""

import itertools
import os
import threading
import time

import LXMF
import RNS

from node import ms_since, outgoing, run

LXMessage = LXMF.LXMessage
NAME = ("lxmf", "delivery")


def start_router(task):
    identity = RNS.Identity()
    router = LXMF.LXMRouter(identity=identity, storagepath=os.path.join(task["directory"], "storage"))
    return router, router.register_delivery_identity(identity)


def serve(task):
    router, delivery = start_router(task)
    router.register_delivery_callback(lambda message: None)
    return delivery.hash


def measure(task):
    router, delivery = start_router(task)
    there = outgoing(task, *NAME)
    router.announce(delivery.hash)
    time.sleep(0.5)
    numbers = itertools.count()

    def send(concluded):
        message = LXMessage(there, delivery, str(next(numbers)).rjust(task["size"], "x"), "", desired_method=LXMessage.DIRECT)
        message.register_delivery_callback(lambda _: concluded(True))
        message.register_failed_callback(lambda _: concluded(False))
        router.handle_outbound(message)

    one_at_a_time(send, task["warmup"])
    return one_at_a_time(send, task["count"]) if task["mode"] == "sequential" else all_at_once(send, task["count"])


def one_at_a_time(send, count):
    each, lost = [], 0
    began = time.perf_counter()
    for _ in range(count):
        done, good = threading.Event(), []
        sent = time.perf_counter()
        send(lambda ok: (good.append(ok), done.set()))
        done.wait(60)
        each.append(ms_since(sent))
        lost += good != [True]
    return {"each": each, "total": ms_since(began), "lost": lost}


def all_at_once(send, count):
    each, lost, done = [], [], threading.Event()
    began = time.perf_counter()

    def concluded(ok):
        each.append(ms_since(began))
        if not ok:
            lost.append(1)
        if len(each) == count:
            done.set()

    for _ in range(count):
        send(concluded)
    queued = ms_since(began)
    done.wait(120)
    return {"each": each, "total": ms_since(began), "queued": queued, "lost": len(lost) + count - len(each)}


run(serve, measure)
