"""Writes test/vectors/*.json from the Python reference.

    .cache/py/1.5.7-1.2.1/bin/python tools/vectors [kind ...]

Nothing here is copied from the reference: it is run, and what it puts on the wire is written down.
"""

import json
import os
import sys

sys.dont_write_bytecode = True

import lab  # noqa: E402

lab.start()

import LXMF  # noqa: E402
import RNS  # noqa: E402

import access  # noqa: E402
import basics  # noqa: E402
import channel  # noqa: E402
import discovery  # noqa: E402
import lan  # noqa: E402
import link  # noqa: E402
import message  # noqa: E402
import resource  # noqa: E402

MODULES = [access, basics, channel, link, resource, message, lan, discovery]
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "vectors")


def write(kind, cases):
    source = f"rns {RNS.__version__}, lxmf {LXMF.__version__}"
    head = {"source": source, "made": f"python tools/vectors {kind}"}
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in cases)
    with open(os.path.join(OUT, f"{kind}.json"), "w") as out:
        out.write(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n')
    print(f"{kind}: {len(cases)} cases")


def main(wanted):
    for module in MODULES:
        for kind, make in module.kinds().items():
            if not wanted or kind in wanted:
                write(kind, list(make()))


main(sys.argv[1:])
sys.stdout.flush()
os._exit(0)
