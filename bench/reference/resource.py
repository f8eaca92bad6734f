"""A Resource over a link, until its receiver has proven it."""

import threading
import time

import RNS

from node import destination, ms_since, outgoing, run

NAME = ("bench", "resource")


def serve(task):
    made = destination(*NAME)
    made.set_link_established_callback(lambda link: link.set_resource_strategy(RNS.Link.ACCEPT_ALL))
    return made.hash


def measure(task):
    ready = threading.Event()
    link = RNS.Link(outgoing(task, *NAME), established_callback=lambda _: ready.set())
    ready.wait(20)
    with open(task["file"], "rb") as file:
        data = file.read()
    send(link, data[: task["warmup"]], task)
    began = time.perf_counter()
    results = [send(link, data, task) for _ in range(task["count"])]
    return {"each": [took for took, _ in results], "total": ms_since(began), "lost": sum(not good for _, good in results)}


def send(link, data, task):
    done = threading.Event()
    began = time.perf_counter()
    resource = RNS.Resource(data, link, auto_compress=task["compress"], callback=lambda _: done.set())
    done.wait(120)
    return ms_since(began), resource.status == RNS.Resource.COMPLETE


run(serve, measure)
