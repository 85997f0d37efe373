"""A client that is refused, connects, and prints what it hears as JSON lines until it has what it missed."""

import json
import sys
import threading

import socketio

url, transport, token = sys.argv[1:]
# The library calls handlers on threads, in no particular order.
heard = threading.Semaphore(0)
one_at_a_time = threading.Lock()


def tell(event, data):
    with one_at_a_time:
        print(json.dumps([event, data]), flush=True)
    heard.release()


refused = socketio.Client(reconnection=False)
refused.on("connect_error", lambda data: tell("refused", data["message"]))
try:
    refused.connect(url, auth={"token": "nonsense"}, transports=[transport], wait_timeout=10)
except socketio.exceptions.ConnectionError:
    pass
assert heard.acquire(timeout=15)

client = socketio.Client(reconnection=False)
events = ["connected", "new_notification", "replay_complete"]
for name in events:
    client.on(name, lambda data, name=name: tell(name, data))

client.connect(url, auth={"token": token, "since": 0}, transports=[transport], wait_timeout=10)
for _ in events:
    assert heard.acquire(timeout=15)
client.disconnect()
