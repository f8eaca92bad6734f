"""A transport node that carries the packets of others; who feeds it is the measuring program."""

import RNS

import node

node.CONFIG = node.CONFIG.replace("enable_transport = no", "enable_transport = yes")


def serve(task):
    return RNS.Transport.identity.hash


def measure(task):
    raise RuntimeError("this node only serves")


node.run(serve, measure)
