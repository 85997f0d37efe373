#!/usr/bin/env python3
"""Runs one scenario after the other against the server and prints the cost of each.

Creates a database, seeds it, starts the release build on it with the settings of this environment, runs wrk, and
removes everything again. Needs wrk and, for PostgreSQL, psql and a server on this machine, to find its processes in /proc.

CPU is in seconds per 1,000 requests: of the server process, and of the PostgreSQL backends that serve it (SQLite runs
inside the server). On a shared machine these are steadier than requests per second; compare figures of one run only.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
SCENARIOS = ["login", "get_post", "list_posts", "list_deep", "list_cursor", "create_post", "like", "comment",
             "list_comments", "followers", "notifications", "mixed"]
TOKENS = 32  # users that send requests


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:  # the connection was closed
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


class Postgres:
    """A new database on a running server."""

    def __init__(self, server, size):
        self.server = server.rstrip("/")
        self.name = f"bench_load_{os.getpid()}_{size}"
        self.url = f"{self.server}/{self.name}"
        self.sql(f"CREATE DATABASE {self.name}")

    def sql(self, query):
        command = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", f"{self.server}/postgres", "-c", query]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout

    def backends(self):
        return self.sql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{self.name}'").split()

    def drop(self):
        self.sql(f"DROP DATABASE {self.name} WITH (FORCE)")


class Sqlite:
    """A file in a temporary folder."""

    def __init__(self, folder):
        self.url = f"sqlite://{folder}/bench.sqlite3"

    def backends(self):
        return []

    def drop(self):
        pass


class Server:
    def __init__(self, program, folder, database, network):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        settings = {"DATABASE_URL": database.url, "DATA_DIR": folder, "HOST": "127.0.0.1", "PORT": str(self.port),
                    "AUTO_MIGRATE": "true", "ACCESS_TOKEN_EXPIRE_MINUTES": "600", "RATE_LIMIT_SCALE": "0"}
        environment = {**os.environ, **settings}
        self.base = f"http://127.0.0.1:{self.port}"
        started = time.time()
        subprocess.run([program, "seed", *network], check=True, env=environment, cwd=folder)
        print(f"seeded in {time.time() - started:.0f} s")
        self.log = open(f"{folder}/log", "w")
        self.process = subprocess.Popen([program], env=environment, cwd=folder, stdout=self.log)
        while not self.is_ready():
            if self.process.poll() is not None:
                sys.exit("the server exited")
            time.sleep(0.1)

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"{self.base}/readyz", timeout=3).status == 200
        except OSError:
            return False

    def request(self, path, form=None, token=None):
        body = urllib.parse.urlencode(form).encode() if form else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(urllib.request.Request(self.base + path, body, headers), timeout=30) as response:
            return json.load(response)

    def login(self, number):
        form = {"username": f"user{number}@example.com", "password": "password123"}
        return self.request("/users/login", form)["access_token"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


def cursors(server, token, posts):
    """Cursors of 40 positions across the list of posts."""
    pages = max(1, posts * 9 // 10 // 20)
    found = [server.request(f"/posts/?page_size=20&page={1 + pages * i // 40}", token=token)["next_cursor"] for i in range(40)]
    return [cursor for cursor in found if cursor]


class Network:
    """A database of one size with its server, and the environment of wrk."""

    def __init__(self, arguments, folder, users, posts):
        self.users, self.posts, self.server = users, posts, None
        is_sqlite = arguments.database == "sqlite"
        self.database = Sqlite(folder) if is_sqlite else Postgres(arguments.database, posts)
        try:
            self.server = Server(arguments.program, folder, self.database, ["--users", str(users), "--posts", str(posts)])
            tokens = [self.server.login(number) for number in range(1, min(TOKENS, users) + 1)]
            files = {"TOKENS": tokens, "CURSORS": cursors(self.server, tokens[0], posts)}
            for name, lines in files.items():
                pathlib.Path(folder, name).write_text("\n".join(lines) + "\n")
            self.environment = {**os.environ, "USERS": str(users), "POSTS": str(posts), "RESULT": f"{folder}/result",
                                **{name: f"{folder}/{name}" for name in files}}
        except BaseException:
            self.stop()
            raise

    def measure(self, scenario, connections, seconds):
        connections = min(connections, 4) if scenario == "login" else connections
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency",
                   "-s", str(ROOT / "bench/load.lua"), self.server.base]
        environment = {**self.environment, "SCENARIO": scenario, "SEED": str(random.randrange(1 << 30))}
        server, backends = [self.server.process.pid], self.database.backends()
        before = cpu_seconds(server), cpu_seconds(backends)
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        # Connections that were opened meanwhile started at zero.
        after = cpu_seconds(server), cpu_seconds(set(backends) | set(self.database.backends()))
        figures = json.loads(pathlib.Path(environment["RESULT"]).read_text())
        thousands = max(figures["requests"], 1) / 1000
        return {"per_second": figures["requests"] / figures["seconds"], "p50": figures["p50"], "p99": figures["p99"],
                "slowest": figures["slowest"], "server": (after[0] - before[0]) / thousands,
                "database": (after[1] - before[1]) / thousands, "rss": resident_mb(self.server.process.pid),
                "failed": figures["refused"] + figures["broken"]}

    def stop(self):
        if self.server:
            self.server.stop()
        self.database.drop()


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=numbers, default=[10_000])
    parser.add_argument("--posts", type=numbers, default=[100_000],
                        help="comma-separated: one database for each number of users and posts, measured in turns")
    parser.add_argument("--seconds", type=int, default=5, help="duration of each scenario")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each scenario; figures are medians, `slowest` the maximum")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="comma-separated; `shapes` requests every list in every form")
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1:5432",
                        help="`sqlite`, or a PostgreSQL server on this machine with permission to create databases")
    parser.add_argument("--program", default=str(ROOT / "target/release/api"))
    parser.add_argument("--json", help="file for the results, in the format of bench/results")
    arguments = parser.parse_args()

    networks = []
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        try:
            for users, posts in zip(arguments.users, arguments.posts, strict=True):
                path = pathlib.Path(folder, str(posts))
                path.mkdir()
                networks.append(Network(arguments, str(path), users, posts))
                print(f"idle: {resident_mb(networks[-1].server.process.pid):.0f} MB resident")
            print(f"{'scenario':14} {'posts':>8} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'slowest':>8} {'server':>9} "
                  f"{'database':>9} {'RSS MB':>7} {'failed':>8}", flush=True)
            rows = []
            for scenario in arguments.scenarios.split(","):
                runs = [[] for _ in networks]
                for network in networks:
                    network.measure(scenario, arguments.connections, 1)
                for _ in range(arguments.rounds):
                    for network, figures in zip(networks, runs):
                        figures.append(network.measure(scenario, arguments.connections, arguments.seconds))
                for network, figures in zip(networks, runs):
                    row = {name: statistics.median(run[name] for run in figures) for name in figures[0]}
                    row["slowest"] = max(run["slowest"] for run in figures)
                    rows.append({"scenario": scenario, "posts": network.posts, **row})
                    print(f"{scenario:14} {network.posts:8d} {row['per_second']:8.0f} {row['p50']:8.2f} {row['p99']:8.2f} "
                          f"{row['slowest']:8.1f} {row['server']:9.4f} {row['database']:9.4f} {row['rss']:7.0f} "
                          f"{row['failed']:8.0f}", flush=True)
            if arguments.json:
                results = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "source": f"bench/load.py {' '.join(sys.argv[1:])}",
                           "machine": f"{os.cpu_count()} cores, {arguments.connections} connections",
                           "unit": "CPU seconds of server and database per 1,000 requests", "rows": rows}
                pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")
        finally:
            for network in networks:
                network.stop()


if __name__ == "__main__":
    main()
