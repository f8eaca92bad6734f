"""Published clients of ntfy and of SMS gateways, used as their own documentation says, with nothing but the address changed.

Called with one JSON object of addresses and tokens; writes one line of JSON a step: its name and what the client gave back,
or the error it raised.
"""

import asyncio
import io
import json
import os
import sys
import tempfile
import threading

given = json.loads(sys.argv[1])
base = given["http"] + "/ntfy"
root = given["legacy"]
token = given["token"]


def step(name, action):
    try:
        result = {"step": name, "value": action()}
    except Exception as error:  # what a client raises is part of what it shows
        result = {"step": name, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result, default=str), flush=True)


# --- Apprise: a host and nothing behind it ------------------------------------------------------------------------------

from apprise import Apprise, AppriseAttachment, NotifyType

host = root.removeprefix("http://")


def with_apprise(url, **message):
    notifier = Apprise()
    assert notifier.add(url), "Apprise does not take the address"
    return notifier.notify(**message)


picture = os.path.join(tempfile.mkdtemp(), "cellar.txt")
with open(picture, "w") as file:
    file.write("two handbreadths of water")

step("apprise basic", lambda: with_apprise(f"ntfy://me:{token}@{host}/alerts?priority=high&xtags=fire", title="Wärme", body="from apprise"))
step("apprise token", lambda: with_apprise(f"ntfy://{host}/alerts?auth=token&token={token}&click=https://example.org/a", body="with a token", notify_type=NotifyType.WARNING))
step("apprise file", lambda: with_apprise(f"ntfy://me:{token}@{host}/alerts", body="see the file", attach=AppriseAttachment(picture)))
step("apprise refused", lambda: with_apprise(f"ntfy://me:wrong@{host}/alerts", body="nobody reads this"))
step("apprise delayed", lambda: with_apprise(f"ntfy://me:{token}@{host}/alerts?delay=10m", body="too late"))
step("apprise form", lambda: with_apprise(f"form://{host}/v1/send?method=post&:message=text&:version=&:type=&:title=title&-to=app:bob&-token={token}", title="t", body="as a form"))

# --- python-ntfy --------------------------------------------------------------------------------------------------------

from python_ntfy import NtfyClient

notes = NtfyClient(topic="alerts", server=base, auth=token)
step("python-ntfy send", lambda: notes.send("from python-ntfy", title="Title", priority=NtfyClient.MessagePriority.MAX, tags=["skull", "a"], format_as_markdown=True,
     actions=[NtfyClient.ViewAction("Open", "https://example.org/"), NtfyClient.HttpAction("Close", "https://example.org/api", method="PUT", headers={"A": "b"}, body="x")]))
step("python-ntfy file", lambda: notes.send_file(picture))
step("python-ntfy cached", lambda: notes.get_cached_messages(since="all"))
step("python-ntfy email", lambda: notes.send("by mail", email="me@example.org"))

# --- ntfy-api -----------------------------------------------------------------------------------------------------------

import ntfy_api

publisher = ntfy_api.NtfyPublisher(url=base, bearer=token)
step("ntfy-api headers", lambda: publisher.publish(ntfy_api.Message(topic="alerts", message="from ntfy-api", title="T", priority=2, tags=["b"], click="https://example.org/c")).json())
step("ntfy-api json", lambda: publisher.publish_json({"topic": "alerts", "message": "as json", "icon": "https://example.org/i.png", "actions": [{"action": "view", "label": "L", "url": "https://example.org/"}]}).json())
publisher.close()

# --- ntfpy: publishes, and subscribes to a stream that does not end -----------------------------------------------------

import ntfpy

heard = []
enough = threading.Event()


def hear(message):
    heard.append([message.text if hasattr(message, "text") else message.message, message.topic])
    if len(heard) == 2:
        enough.set()


def subscribe():
    asyncio.run(ntfpy.NTFYClient(ntfpy.NTFYServer(base), "alerts", ntfpy.NTFYUser("me", token)).subscribe(hear))


def streamed():
    import requests

    threading.Thread(target=subscribe, daemon=True).start()
    client = ntfpy.NTFYClient(ntfpy.NTFYServer(base), "alerts", ntfpy.NTFYUser("me", token))
    # The subscriber says nothing of being there: it is told until it hears.
    for turn in range(100):
        client.send(f"streamed {turn}", tags=["c"])
        if enough.wait(0.3):
            break
    # Where the machine is slow, several that were said meanwhile are heard at once.
    return heard[:2]


step("ntfpy stream", streamed)

# --- aiontfy, which Home Assistant uses; it needs Python 3.12 -----------------------------------------------------------

try:
    import aiontfy
except ImportError:
    aiontfy = None


async def with_aiontfy():
    from yarl import URL

    async with aiontfy.Ntfy(base, username="me", password=token) as client:
        account = await client.account()
        stats = await client.stats()
        got = []
        done = asyncio.Event()

        def callback(note):
            got.append([note.event.value, note.message])
            if note.message == "with a file":
                done.set()

        listening = asyncio.create_task(client.subscribe(["alerts", "door"], callback))
        while not got:
            await asyncio.sleep(0.02)
        said = await client.publish(aiontfy.Message(topic="alerts", message="from aiontfy", click=URL("https://example.org/"), tags=["d"], priority=5))
        filed = await client.publish(aiontfy.Message(topic="alerts", message="with a file", filename="a.txt",
                                     actions=[aiontfy.HttpAction(label="L", url=URL("https://example.org/"), headers={"a": "b"})]), b"bytes")
        await asyncio.wait_for(done.wait(), 30)
        listening.cancel()
        try:
            await client.can_subscribe(["nowhere"])
            refused = None
        except aiontfy.exceptions.NtfyForbiddenError as error:
            refused = error.code
        return {"account": account.username, "rate": stats.messages_rate, "got": got, "priority": said.priority, "file": filed.attachment.name, "refused": refused}


if aiontfy is not None:
    step("aiontfy", lambda: asyncio.run(with_aiontfy()))

# --- SMS Gateway for Android --------------------------------------------------------------------------------------------

from android_sms_gateway import client as smsgate, domain

phone = smsgate.APIClient("me", token, base_url=given["http"] + "/3rdparty/v1")


def state(one):
    return {"id": one.id, "state": one.state.value, "recipients": [[r.phone_number, r.state.value, r.error] for r in one.recipients]}


def texts():
    with phone:
        sent = phone.send(domain.Message(phone_numbers=["+4915112345", "+4915167890"], text_message=domain.TextMessage("from smsgate"), id="order-1", priority=domain.MessagePriority.MAXIMUM, ttl=3600))
        again = phone.send(domain.Message(phone_numbers=["+4915112345", "+4915167890"], text_message=domain.TextMessage("from smsgate"), id="order-1", priority=domain.MessagePriority.MAXIMUM, ttl=3600))
        other = phone.send(domain.Message(phone_numbers=["+4915112345"], text_message=domain.TextMessage("no id")))
        return [state(sent), state(again), state(phone.get_state("order-1")), state(phone.get_state(other.id))]


def unknown_number():
    with phone:
        return state(phone.send(domain.Message(phone_numbers=["+4915112345", "+999"], text_message=domain.TextMessage("to nobody"), id="order-2")))


def cancelled():
    with phone:
        sent = phone.send(domain.Message(phone_numbers=["+4915112345"], text_message=domain.TextMessage("taken back"), id="order-3"))
        phone.cancel_message(sent.id)
        return state(phone.get_state("order-3"))


def nobody():
    with smsgate.APIClient("me", "wrong", base_url=given["http"] + "/3rdparty/v1") as stranger:
        return stranger.get_state("order-1")


step("smsgate send", texts)
step("smsgate unknown number", unknown_number)
step("smsgate cancel", cancelled)
step("smsgate devices", lambda: [(phone.__enter__(), [d.name for d in phone.list_devices()])[1], phone.__exit__(None, None, None)][0])
step("smsgate stranger", nobody)
