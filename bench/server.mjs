// The server under test: the release binary with its own folder and database, and a REST client for it.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function freePort() {
  return new Promise((done) => {
    const listener = createServer().listen(0, "127.0.0.1", () => {
      const { port } = listener.address();
      listener.close(() => done(port));
    });
  });
}

/// A SQLite file in a new folder, or a new database on the PostgreSQL server `postgres` (created with psql).
export class Database {
  constructor(postgres) {
    this.folder = mkdtempSync(join(tmpdir(), "bench-realtime-"));
    this.url = `sqlite://${join(this.folder, "bench.sqlite3")}`;
    if (!postgres) return;
    this.postgres = new URL(postgres);
    this.name = `bench_realtime_${process.pid}`;
    this.psql(`CREATE DATABASE ${this.name}`);
    const url = new URL(postgres);
    url.pathname = `/${this.name}`;
    this.url = url.toString();
  }

  psql(statement) {
    execFileSync("psql", ["-qX", "-v", "ON_ERROR_STOP=1", "-c", statement, this.postgres.toString()]);
  }

  remove() {
    if (this.name) this.psql(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class Server {
  static async start(binary, database) {
    const server = new Server();
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
    // No limits, and tokens that outlive the benchmark and its restarts.
    server.process = spawn(binary, ["serve"], {
      cwd: database.folder,
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        PATH: process.env.PATH,
        ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(MALLOC_|GLIBC_)/.test(name))),
        DATABASE_URL: database.url,
        DATA_DIR: database.folder,
        AUTO_MIGRATE: "true",
        HOST: "127.0.0.1",
        PORT: String(server.port),
        SOCKETS_PER_ADDRESS: "0",
        CONNECTIONS_PER_ADDRESS: "0",
        CONNECTIONS_TOTAL: "1000000",
        RATE_LIMIT_SCALE: "0",
        ACCESS_TOKEN_EXPIRE_MINUTES: "120",
        RUST_LOG: "warn",
      },
    });
    server.exited = new Promise((done) => server.process.once("exit", done));
    for (;;) {
      if (server.process.exitCode !== null) throw new Error("the server exited");
      if (await server.request("GET", "/readyz").then(({ status }) => status === 200, () => false)) return server;
      await sleep(50);
    }
  }

  /// Sends a request; resolves to the status and the response as JSON.
  request(method, path, { token, body } = {}) {
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    return new Promise((done, failed) => {
      const options = { host: "127.0.0.1", port: this.port, agent: this.agent, method, path, headers };
      const request = http.request(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("end", () => done({ status: response.statusCode, json: text.startsWith("{") ? JSON.parse(text) : null }));
      });
      request.on("error", failed).end(body ? JSON.stringify(body) : undefined);
    });
  }

  async ok(method, path, options) {
    const { status, json } = await this.request(method, path, options);
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(json)}`);
    return json;
  }

  /// Creates a user with a post.
  async user(name) {
    const email = `${name}@example.com`;
    await this.ok("POST", "/users/register", { body: { username: name, email, password: "correct horse" } });
    let mail;
    while ((mail = await this.request("GET", `/dev/inbox/latest?to=${email}`)).status !== 200) await sleep(20);
    const pair = await this.ok("POST", "/users/verify-otp", { body: { email, otp: mail.json.otp } });
    const token = pair.access_token;
    const { user_id: id, id: post } = await this.ok("POST", "/posts/", { token, body: { content: `by ${name}` } });
    return { id, token, post };
  }

  /// Resident memory in bytes.
  memory() {
    const status = readFileSync(`/proc/${this.process.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  async stop() {
    this.agent.destroy();
    this.process.kill("SIGTERM");
    await this.exited;
  }
}
