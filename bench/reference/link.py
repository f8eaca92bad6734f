"""Links, one after the other: established, then torn down."""

import threading
import time

import RNS

from node import destination, ms_since, outgoing, run

NAME = ("bench", "link")


def serve(task):
    return destination(*NAME).hash


def measure(task):
    there = outgoing(task, *NAME)
    open_all(there, task["warmup"])
    return open_all(there, task["count"])


def open_all(there, count):
    each, lost = [], 0
    began = time.perf_counter()
    for _ in range(count):
        established = threading.Event()
        asked = time.perf_counter()
        link = RNS.Link(there, established_callback=lambda _: established.set())
        if established.wait(20):
            each.append(ms_since(asked))
        else:
            lost += 1
        link.teardown()
    return {"each": each, "total": ms_since(began), "lost": lost}


run(serve, measure)
