// Real clients for the tests. Reads commands as JSON lines from stdin and writes events as JSON lines to stdout.
//
//   {"open": "a", "url": "http://…", "options": {…}}   a client called a; with "resume": true in its options, it sends
//                                                      the id of its last notification in `auth`
//   {"emit": "a", "event": "…", "data": …, "ack": true}
//   {"disconnect": "a"}
//
// Each line of output is {"client", "event", "data"}. `connect`, `disconnect` and `connect_error` are the library's own.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const clients = new Map();
const report = (client, event, data = null) => process.stdout.write(JSON.stringify({ client, event, data }) + "\n");

function open(name, url, { resume, ...options }) {
  const { auth } = options;
  let since = 0;
  if (resume) options.auth = (send) => send({ ...auth, since });
  const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, forceNew: true, ...options });
  clients.set(name, socket);
  socket.on("connect", () => report(name, "connect", socket.io.engine.transport.name));
  socket.on("disconnect", (reason) => report(name, "disconnect", reason));
  socket.on("connect_error", (error) => report(name, "connect_error", { message: error.message, data: error.data ?? null }));
  socket.onAny((event, data) => {
    if (event === "new_notification") since = data.id;
    report(name, event, data);
  });
  socket.io.on("open", () => {
    socket.io.engine.once("upgrade", (transport) => report(name, "upgrade", transport.name));
    socket.io.engine.once("close", (reason) => report(name, "close", reason));
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.open) {
    open(command.open, command.url, command.options);
  } else if (command.emit) {
    const socket = clients.get(command.emit);
    if (command.ack) socket.emit(command.event, command.data, (response) => report(command.emit, "ack", response));
    else socket.emit(command.event, command.data);
  } else if (command.disconnect) {
    clients.get(command.disconnect).disconnect();
  }
}
for (const socket of clients.values()) socket.disconnect();
process.exit(0);
