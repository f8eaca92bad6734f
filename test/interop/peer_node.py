"""The node a peer runs: its config file, its identity, and what it has sent and heard."""

import collections
import os
import socket
import sys
import threading
import time

import LXMF
import RNS
from RNS.Interfaces.TCPInterface import TCPClientInterface

from peer import command, event, to_wire


class Node:
    """What the commands share; filled by `start`."""

    def __init__(self):
        self.configdir = None
        self.reticulum = None
        self.router = None
        self.identity = None
        self.delivery = None
        self.sent_raw = collections.deque(maxlen=4096)
        self.announces = []
        self.lock = threading.Lock()


node = Node()


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def interface_section(number, wanted):
    """The config section of one interface, and the port it listens on if it does."""
    options = {"enabled": "yes", "ingress_control": "no", **wanted.get("options", {})}
    port = wanted.get("port") or None
    if wanted["type"] == "server":
        port = port or unused_port()
        options = {"type": "TCPServerInterface", "listen_ip": wanted.get("host", "127.0.0.1"), "listen_port": port, **options}
    elif wanted["type"] in ("lan", "udp"):
        options = {"type": "AutoInterface" if wanted["type"] == "lan" else "UDPInterface", **options}
    elif wanted["type"] in ("rnode", "serial", "kiss", "pipe"):
        classes = {"rnode": "RNodeInterface", "serial": "SerialInterface", "kiss": "KISSInterface", "pipe": "PipeInterface"}
        options = {"type": classes[wanted["type"]], **options}
    else:
        options = {"type": "TCPClientInterface", "target_host": wanted.get("host", "127.0.0.1"), "target_port": port, **options}
    lines = [f"  [[{wanted['type']} {number}]]"] + [f"    {key} = {value}" for key, value in options.items()]
    return "\n".join(lines), port if wanted["type"] == "server" else None


def write_config(configdir, interfaces, transport, reticulum):
    sections, ports = [], []
    for number, wanted in enumerate(interfaces):
        section, port = interface_section(number, wanted)
        sections.append(section)
        ports.append(port)
    options = {"enable_transport": "yes" if transport else "no", "share_instance": "No", "panic_on_interface_error": "No", **reticulum}
    head = ["[reticulum]"] + [f"  {key} = {value}" for key, value in options.items()]
    os.makedirs(configdir, exist_ok=True)
    with open(os.path.join(configdir, "config"), "w", encoding="utf-8") as config:
        config.write("\n".join([*head, "[logging]", "  loglevel = 4", "[interfaces]", *sections]) + "\n")
    return ports


def load_identity(path):
    if os.path.isfile(path):
        return RNS.Identity.from_file(path)
    made = RNS.Identity()
    made.to_file(path)
    return made


class AnnounceListener:
    """Hears every announce; the reference gives only those whose signature holds."""

    aspect_filter = None
    receive_path_responses = True

    def received_announce(self, destination_hash, announced_identity, app_data, announce_packet_hash, is_path_response):
        heard = {
            "destination": destination_hash.hex(),
            "identity": announced_identity.hash.hex(),
            "appData": app_data.hex() if app_data is not None else None,
            "name": readable_name(app_data),
            "hops": RNS.Transport.hops_to(destination_hash),
            "pathResponse": bool(is_path_response),
            "packetHash": announce_packet_hash.hex(),
        }
        node.announces.append(heard)
        event("announce", **heard)


def readable_name(app_data):
    try:
        return LXMF.display_name_from_app_data(app_data)
    except Exception:
        return None


def keep_what_is_sent():
    """Remembers every packet handed to an interface, so that `replay` can send the very same bytes again."""
    transmit = RNS.Transport.transmit

    def remembering(interface, raw):
        node.sent_raw.append(bytes(raw))
        return transmit(interface, raw)

    RNS.Transport.transmit = staticmethod(remembering)


def watch_interfaces():
    """Reports each TCP connection that comes up or goes down, among them those of a server's clients."""
    up = {}
    while True:
        now = {id(one): str(one) for one in list(RNS.Transport.interfaces) if isinstance(one, TCPClientInterface) and one.online}
        for key in now.keys() - up.keys():
            event("interface", name=now[key], state="up")
        for key in up.keys() - now.keys():
            event("interface", name=up[key], state="down")
        up = now
        time.sleep(0.02)


def mint_stamps_here():
    """Keeps stamp making in this process: the reference forks workers, which can deadlock in a process with threads."""
    stamper = LXMF.LXStamper
    stamper.job_linux = stamper.job_linux_managed = stamper.job_simple


@command()
def start(
    configdir,
    interfaces=(),
    transport=False,
    identityFile=None,
    displayName=None,
    stampCost=None,
    enforceStamps=False,
    ratchets=True,
    deliveryLimit=None,
    reconnectWait=None,
    retryWait=None,
    reticulum=None,
    loglevel=4,
):
    """Brings the node up. The first connect of a client interface happens in here: start what it dials first."""
    node.configdir = configdir
    if reconnectWait is not None:
        TCPClientInterface.RECONNECT_WAIT = reconnectWait
    if retryWait is not None:
        LXMF.LXMRouter.DELIVERY_RETRY_WAIT = retryWait
    ports = write_config(configdir, interfaces, transport, reticulum or {})
    if reticulum and "blackhole_sources" in reticulum:
        RNS.Discovery.BlackholeUpdater.INITIAL_WAIT = 1
        RNS.Discovery.BlackholeUpdater.JOB_INTERVAL = 1
    RNS.Discovery.InterfaceAnnouncer.JOB_INTERVAL = 1
    keep_what_is_sent()
    mint_stamps_here()
    node.reticulum = RNS.Reticulum(configdir=configdir, loglevel=loglevel, logdest=lambda line: print(line, file=sys.stderr, flush=True))
    node.identity = load_identity(identityFile or os.path.join(configdir, "identity"))
    threading.Thread(target=watch_interfaces, daemon=True).start()
    RNS.Transport.register_announce_handler(AnnounceListener())
    limit = {"delivery_limit": deliveryLimit} if deliveryLimit else {}
    node.router = LXMF.LXMRouter(identity=node.identity, storagepath=os.path.join(configdir, "storage"), enforce_stamps=enforceStamps, **limit)
    node.delivery = node.router.register_delivery_identity(node.identity, display_name=displayName, stamp_cost=stampCost)
    if not ratchets:
        node.delivery.ratchets = None
        node.delivery.ratchets_path = None
    from peer_lxmf import received_message

    node.router.register_delivery_callback(received_message)
    return {
        "identity": node.identity.hash.hex(),
        "publicKey": node.identity.get_public_key().hex(),
        "destination": node.delivery.hash.hex(),
        "transport": RNS.Transport.identity.hash.hex(),
        "ports": ports,
        "rns": RNS.__version__,
        "lxmf": LXMF.__version__,
    }


@command(slow=True)
def stop():
    """Saves what the reference saves at its exit; the caller then closes stdin."""
    node.router.exit_handler()
    RNS.Reticulum.exit_handler()
    return True


@command()
def stats():
    interfaces = node.reticulum.get_interface_stats()["interfaces"]
    return {
        "interfaces": [to_wire({key: one.get(key) for key in ["name", "status", "rxb", "txb", "clients", "bitrate", "mtu"]}) for one in interfaces],
        "links": len(RNS.Transport.active_links),
        "paths": len(RNS.Transport.path_table),
        "announcesHeard": len(node.announces),
        "packetsSent": len(node.sent_raw),
    }


@command()
def cut():
    """Breaks every TCP connection; whoever dialled it dials again. Gives how many there were."""
    count = 0
    for interface in list(RNS.Transport.interfaces):
        if isinstance(interface, TCPClientInterface) and interface.online:
            interface.socket.shutdown(socket.SHUT_RDWR)
            count += 1
    return count


@command()
def announces():
    return node.announces


@command()
def blackhole(identity, until=None, reason=None):
    """Puts an identity on this node's own list; `until` in seconds since 1970."""
    return RNS.Transport.blackhole_identity(bytes.fromhex(identity), until=until, reason=reason)


@command()
def blackholed():
    """Who is not listened to here, and whose list says so."""
    return {identity.hex(): entry["source"].hex() for identity, entry in RNS.Transport.blackholed_identities.items()}


@command()
def discovered():
    """Interfaces that were announced, as `rnstatus -d` would list them."""
    found = RNS.Discovery.InterfaceDiscovery(discover_interfaces=False).list_discovered_interfaces()
    return [{key: one.get(key) for key in ["name", "type", "reachable_on", "port", "impl_name", "version", "transport", "transport_id", "network_id", "value"]} for one in found]
