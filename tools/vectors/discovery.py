"""Vectors of interfaces that announce themselves: what the reference says of one, and what it reads in that."""

import os

import LXMF
import RNS
from RNS import Discovery

from lab import case, chance, fill

STAMPER = LXMF.LXStamper


def generate_stamp(material, stamp_cost, expand_rounds):
    """As the reference looks for one, but in this process, and without asking how fast it is: time stands still here."""
    block = STAMPER.stamp_workblock(material, expand_rounds=expand_rounds)
    stamp = os.urandom(32)
    while not STAMPER.stamp_valid(stamp, stamp_cost, block):
        stamp = RNS.Identity.full_hash(stamp)
    return stamp, STAMPER.stamp_value(block, stamp)


STAMPER.generate_stamp = generate_stamp

IDENTITY = RNS.Identity.from_bytes(fill("discovery identity", 64))
COST = 12


class Owner:
    """Stands in for Transport: who announces."""

    identity = IDENTITY

    @staticmethod
    def has_network_identity():
        return False


def made(kind, **facts):
    """An interface of this class with these settings and no medium."""
    settings = {
        "discovery_stamp_value": COST,
        "discovery_location": None,
        "discovery_name": "Elm Street",
        "discovery_latitude": None,
        "discovery_longitude": None,
        "discovery_height": None,
        "discovery_lxmf_address": None,
        "discovery_publish_ifac": False,
        "discovery_encrypt": False,
        "kiss_framing": True,
        "reachable_on": None,
        **facts,
    }
    return type(kind, (), settings)()


INTERFACES = {
    "a listener": made("BackboneInterface", reachable_on="elm.example", bind_port=4242),
    "a listener by address, with a place and an operator": made(
        "TCPServerInterface",
        reachable_on="2001:db8::1",
        bind_port=4242,
        discovery_name="  Elm\nStreet (north)  ",
        discovery_latitude=52.52,
        discovery_longitude=13.4,
        discovery_height=34.0,
        discovery_lxmf_address=fill("operator", 16),
    ),
    "a listener with its access code": made(
        "BackboneInterface", reachable_on="192.0.2.7", bind_port=1, discovery_publish_ifac=True, ifac_netname="elm", ifac_netkey="strasse ☀"
    ),
    "a radio": made("RNodeInterface", frequency=869525000, bandwidth=125000, sf=8, cr=5),
    "a packet radio": made("KISSInterface", discovery_frequency=144800000, discovery_bandwidth=12500, discovery_modulation="AFSK"),
    "a packet radio over TCP": made("TCPClientInterface", discovery_frequency=144800000, discovery_bandwidth=12500, discovery_modulation="AFSK"),
    "a weave": made(
        "WeaveInterface", discovery_frequency=2400000000, discovery_bandwidth=2000000, discovery_channel=3, discovery_modulation="LoRa"
    ),
    "a name of signs": made("BackboneInterface", reachable_on="elm.example", bind_port=4242, discovery_name="★ ★"),
}


def heard(app_data):
    """What the reference's listener makes of it, without what depends on the time or is bytes."""
    found = []
    handler = Discovery.InterfaceAnnounceHandler(required_value=COST, callback=found.append)
    handler.received_announce(fill("destination", 16), IDENTITY, app_data)
    (info,) = found
    left = {key: value for key, value in info.items() if key not in ("received", "hops", "config_entry")}
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in left.items()}


def notices():
    announcer = Discovery.InterfaceAnnouncer(Owner)
    for name, interface in INTERFACES.items():
        chance.seed(f"discovery/{name}")
        app_data = announcer.get_interface_announce_data(interface)
        yield case(name, app_data, **heard(app_data))


NAMES = ["Elm Street", "  Elm   Street  ", "★ Elm ★", "(Elm)", "-", "", "Elm: Street (north)", "ä", "Elm\u00a0Street"]


def names():
    for name in NAMES:
        yield case(name, name.encode(), clean=Discovery.InterfaceAnnounceHandler.sanitize_name(name) or None)


PLACES = [
    *["elm.example", "elm.example.", "-elm.example", "elm..example", "1.2.3", "1.2.3.4", "01.2.3.4", "256.1.1.1", "localhost"],
    *["2001:db8::1", "::1", "::", "fe80::1%eth0", "::ffff:192.0.2.1", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "200::1", "elm_street.example"],
    *["abc.onion", "x" * 64 + ".example", "a" * 63 + ".example", "elm street", "12345", "elm.12"],
]


def places():
    for place in PLACES:
        reachable = Discovery.is_ip_address(place) or Discovery.is_hostname(place)
        yield case(place, place.encode(), address=Discovery.is_ip_address(place), hostname=Discovery.is_hostname(place), reachable=bool(reachable))


def kinds():
    return {"discovery": notices, "discovery-names": names, "discovery-places": places}
