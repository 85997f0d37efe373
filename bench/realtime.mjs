// Measures the delivery of live notifications and the memory of idle sockets: `just bench-realtime`.
//
//   --binary PATH      server to measure (target/release/api)
//   --postgres URL     PostgreSQL server on which to create a database; default: SQLite
//   --clients N        websockets connected while likes are sent (1000), two per user
//   --rate N           likes per second (200)
//   --seconds N        duration (20)
//   --idle N,N         numbers of idle sockets to measure memory with (1000,5000)
//
// Exits with 1 if an event was lost or repeated.
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { Database, Server } from "./server.mjs";

const DEVICES = 2;
const MAX_DEVICES = 10;

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: `${process.env.CARGO_TARGET_DIR ?? "target"}/release/api` },
    postgres: { type: "string" },
    clients: { type: "string", default: "1000" },
    rate: { type: "string", default: "200" },
    seconds: { type: "string", default: "20" },
    idle: { type: "string", default: "1000,5000" },
  },
});
const [clients, rate, seconds] = [values.clients, values.rate, values.seconds].map(Number);
const idle = values.idle.split(",").filter(Boolean).map(Number);

/// Runs `work` for each of `items`, `concurrency` at a time.
async function each(items, concurrency, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at], at);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return results;
}

/// Connects a client and waits for its `connected` event.
function open(server, token, listener = () => {}) {
  return new Promise((done, failed) => {
    const socket = io(server.url, { auth: { token }, transports: ["websocket"], forceNew: true, reconnection: false });
    socket.on("connect_error", failed);
    socket.on("new_notification", listener);
    socket.once("connected", () => done(socket));
  });
}

const kibibytes = (bytes) => (bytes / 1024).toFixed(1);
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;

function spread(samples) {
  const sorted = Float64Array.from(samples).sort();
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => percentile(sorted, share).toFixed(1));
  return `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`;
}

/// Measures the memory of an idle socket: growth of resident memory divided by the number of sockets.
async function measureIdle(server, users) {
  // Warm up first: threads and database caches are created with the first connections.
  for (const socket of await each(users.slice(0, 25), 25, (user) => open(server, user.token))) socket.disconnect();
  await sleep(1000);
  const before = server.memory();
  const sockets = [];
  let last = { count: 0, memory: before };
  for (const count of idle) {
    const owners = Array.from({ length: count - sockets.length }, (_, at) => users[(sockets.length + at) % users.length]);
    sockets.push(...(await each(owners, 25, (user) => open(server, user.token))));
    await sleep(2000);
    const connected = sockets.filter((socket) => socket.connected).length;
    const memory = server.memory();
    const cost = kibibytes((memory - before) / count);
    const further = kibibytes((memory - last.memory) / (count - last.count));
    console.log(`idle: ${connected} sockets, ${cost} KiB each, the last ${count - last.count} of them ${further}`);
    last = { count, memory };
  }
  for (const socket of sockets) socket.disconnect();
}

/// Sends likes at a fixed rate; every device of the post's author receives each.
async function measureDelivery(server, users) {
  const sent = new Map();
  let repeated = 0;
  let unexpected = 0;
  const record = (device) => (event) => {
    const like = sent.get(`${event.actor_id} ${event.post_id}`);
    if (!like) return unexpected++;
    if (like.receivedAt.has(device)) return repeated++;
    like.receivedAt.set(device, performance.now());
  };
  const authors = users.slice(0, clients / DEVICES);
  const devices = authors.flatMap((user) => Array.from({ length: DEVICES }, () => user));
  const sockets = await each(devices, 25, (user, device) => open(server, user.token, record(device)));
  await sleep(1000);

  // The first second is a warm-up: not timed, but checked for lost and repeated events.
  const all = rate * (seconds + 1);
  const pending = [];
  const failed = new Map();
  const started = performance.now();
  for (let n = 0; n < all; n++) {
    while (performance.now() - started < (n * 1000) / rate) await sleep(1);
    // Every user likes every other user's post once.
    const at = n % authors.length;
    const actor = users[(at + 1 + Math.floor(n / authors.length)) % users.length];
    const author = authors[at];
    const like = { at: performance.now(), counts: n >= rate, receivedAt: new Map() };
    sent.set(`${actor.id} ${author.post}`, like);
    pending.push(
      server.request("POST", `/posts/${author.post}/like`, { token: actor.token }).then(({ status }) => {
        if (status !== 200) failed.set(status, (failed.get(status) ?? 0) + 1);
        like.respondedAt = performance.now();
      }),
    );
  }
  await Promise.all(pending);
  const took = (performance.now() - started) / 1000;
  const missing = () => [...sent.values()].reduce((count, like) => count + DEVICES - like.receivedAt.size, 0);
  for (let wait = 0; missing() > 0 && wait < 100; wait++) await sleep(50);
  await sleep(500); // a repeated event may be late

  const connected = sockets.filter((socket) => socket.connected).length;
  console.log(`likes: ${all} in ${took.toFixed(1)} s, each to ${DEVICES} devices of its author; ${connected} of ${sockets.length} sockets still connected`);
  for (const [status, count] of failed) console.log(`likes with status ${status}: ${count}`);
  const counted = [...sent.values()].filter((like) => like.counts);
  const events = counted.flatMap((like) => [...like.receivedAt.values()].map((received) => ({ ...like, received })));
  console.log(`response, including the commit: ${spread(counted.map((like) => like.respondedAt - like.at))}`);
  console.log(`delivery, from request sent to event received: ${spread(events.map((event) => event.received - event.at))}`);
  console.log(`delivery after the response: ${spread(events.map((event) => event.received - event.respondedAt))}`);
  console.log(`lost ${missing()}, repeated ${repeated}, unexpected ${unexpected}`);
  for (const socket of sockets) socket.disconnect();
  return missing() === 0 && repeated === 0 && unexpected === 0 && failed.size === 0;
}

const database = new Database(values.postgres);
let server;
process.once("exit", () => server?.process.kill("SIGKILL"));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
process.once("exit", () => database.remove());
let allArrived = true;
try {
  server = await Server.start(values.binary, database);
  const count = Math.ceil(Math.max(clients / DEVICES, ...idle.map((sockets) => sockets / MAX_DEVICES), 2));
  const users = await each(Array.from({ length: count }), 8, (_, at) => server.user(`user_${at}`));
  console.log(`${values.postgres ? "PostgreSQL" : "SQLite"}, ${count} users`);
  if (idle.length > 0) {
    // A fresh process: memory freed by registration would hide the memory of sockets.
    await server.stop();
    server = await Server.start(values.binary, database);
    await measureIdle(server, users);
  }
  if (clients > 0) {
    await server.stop();
    server = await Server.start(values.binary, database);
    allArrived = await measureDelivery(server, users);
  }
  await server.stop();
} catch (error) {
  console.error(error);
  allArrived = false;
}
process.exit(allArrived ? 0 : 1);
