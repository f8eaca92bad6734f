"""A reference node for one measurement.

    in    one JSON line, the task: {"role": "serve" | "measure", "directory", …}, and for measure {"port", "destination"}
    out   one JSON line; of serve {"port", "destination"}, of measure what it measured

It ends with its stdin. Whatever else would print goes to stderr.
"""

import json
import os
import socket
import sys
import time

import RNS

out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

CONFIG = """[reticulum]
  enable_transport = no
  share_instance = No
  panic_on_interface_error = No
[logging]
  loglevel = 1
[interfaces]
  [[tcp]]
    enabled = yes
    ingress_control = no
"""


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(task):
    """Brings the node up, listening or connected; gives the port."""
    serving = task["role"] == "serve"
    port = unused_port() if serving else task["port"]
    lines = {"type": "TCPServerInterface", "listen_ip": "127.0.0.1", "listen_port": port} if serving else {"type": "TCPClientInterface", "target_host": "127.0.0.1", "target_port": port}
    if task.get("accessCode"):
        lines |= {"network_name": "bench", "passphrase": "bench", "ifac_size": 128}
    os.makedirs(task["directory"], exist_ok=True)
    with open(os.path.join(task["directory"], "config"), "w", encoding="utf-8") as config:
        config.write(CONFIG + "".join(f"    {key} = {value}\n" for key, value in lines.items()))
    RNS.Reticulum(configdir=task["directory"], loglevel=1, logdest=lambda line: print(line, file=sys.stderr, flush=True))
    return port


def destination(*name):
    """A destination that is served here."""
    return RNS.Destination(RNS.Identity(), RNS.Destination.IN, RNS.Destination.SINGLE, *name)


def outgoing(task, *name):
    """The destination the task is about, after a path request."""
    there = bytes.fromhex(task["destination"])
    until = time.monotonic() + 15
    RNS.Transport.request_path(there)
    while not (RNS.Transport.has_path(there) and RNS.Identity.recall(there)):
        if time.monotonic() > until:
            raise TimeoutError("no path to the node that serves")
        time.sleep(0.01)
    return RNS.Destination(RNS.Identity.recall(there), RNS.Destination.OUT, RNS.Destination.SINGLE, *name)


def ms_since(began):
    return (time.perf_counter() - began) * 1000


def say(line):
    out.write(json.dumps(line) + "\n")
    out.flush()


def run(serve, measure):
    """Does what the task on stdin asks. `serve(task)` gives the destination's hash, `measure(task)` the figures."""
    task = json.loads(sys.stdin.readline())
    port = start(task)
    if task["role"] == "serve":
        say({"port": port, "destination": serve(task).hex(), "rns": RNS.__version__})
    else:
        say(measure(task))
    while sys.stdin.readline():
        pass
    os._exit(0)
