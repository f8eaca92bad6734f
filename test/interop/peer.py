"""A reference LXMF peer driven over stdin and stdout, one JSON object a line.

    in   {"id", "command", "params"}
    out  {"id", "result"} or {"id", "error"}, and unasked {"event", …}

Bytes are {"hex"}, floats {"float"}, integers beyond 2^53 {"int"}; maps are objects, whose keys that look like integers
are integers. End of stdin ends the process. Log lines, and whatever else would print, go to stderr.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback

out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
out_lock = threading.Lock()
commands = {}


def say(line):
    with out_lock:
        out.write(json.dumps(line) + "\n")
        out.flush()


def event(name, /, **facts):
    say({"event": name, "at": time.time(), **facts})


def command(slow=False):
    """Registers a command; a slow one waits for the network, so it gets a thread of its own."""

    def register(function):
        commands[function.__name__] = (function, slow)
        return function

    return register


def to_wire(value):
    """A value in the JSON form above."""
    if isinstance(value, (bytes, bytearray)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return {"int": str(value)}
    if isinstance(value, dict):
        return {key.hex() if isinstance(key, bytes) else str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    return value


def key_of(text):
    digits = text[1:] if text.startswith("-") else text
    return int(text) if digits.isdigit() else text


def from_wire(value):
    """The value that `to_wire` would write so."""
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key == "hex":
            return bytes.fromhex(item)
        if key == "float":
            return float(item)
        if key == "int":
            return int(item)
    return {key_of(key): from_wire(item) for key, item in value.items()}


def payload(params, default=b""):
    """Bytes asked for as `hex`, as `text`, or as `size` random ones."""
    if "hex" in params:
        return bytes.fromhex(params["hex"])
    if "text" in params:
        return params["text"].encode("utf-8")
    if "size" in params:
        return os.urandom(params["size"])
    return default


def wait_until(ready, seconds, every=0.005):
    """Waits for `ready()`; says whether it came true in time."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() >= until:
            return False
        time.sleep(every)
    return True


def perform(request):
    try:
        function, _ = commands[request["command"]]
        say({"id": request["id"], "result": function(**request.get("params", {}))})
    except BaseException as error:
        traceback.print_exc()
        say({"id": request["id"], "error": f"{type(error).__name__}: {error}"})


def read_lines(requests):
    for line in sys.stdin:
        if line.strip():
            requests.put(json.loads(line))
    requests.put(None)


def main():
    # RNS.Reticulum() takes signal handlers, so `start`, like every quick command, runs on this thread.
    requests = queue.Queue()
    threading.Thread(target=read_lines, args=(requests,), daemon=True).start()
    while (request := requests.get()) is not None:
        _, slow = commands.get(request["command"], (None, False))
        if slow:
            threading.Thread(target=perform, args=(request,), daemon=True).start()
        else:
            perform(request)
    os._exit(0)


if __name__ == "__main__":
    sys.modules["peer"] = sys.modules["__main__"]
    import peer_channel  # noqa: F401
    import peer_lxmf  # noqa: F401
    import peer_rns  # noqa: F401

    main()
