"""A client that is refused, connects, and prints its events as JSON lines until the replay is complete."""

import json
import sys
import threading

import socketio

url, transport, token = sys.argv[1:]
# The library calls handlers on threads, in no particular order.
received = threading.Semaphore(0)
one_at_a_time = threading.Lock()


def report(event, data):
    with one_at_a_time:
        print(json.dumps([event, data]), flush=True)
    received.release()


refused = socketio.Client(reconnection=False)
refused.on("connect_error", lambda data: report("refused", data["message"]))
try:
    refused.connect(url, auth={"token": "nonsense"}, transports=[transport], wait_timeout=10)
except socketio.exceptions.ConnectionError:
    pass
assert received.acquire(timeout=15)

client = socketio.Client(reconnection=False)
events = ["connected", "new_notification", "replay_complete"]
for name in events:
    client.on(name, lambda data, name=name: report(name, data))

client.connect(url, auth={"token": token, "since": 0}, transports=[transport], wait_timeout=10)
for _ in events:
    assert received.acquire(timeout=15)
client.disconnect()
