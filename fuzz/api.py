#!/usr/bin/env python3
"""Tries the API with what Schemathesis makes of our OpenAPI document: all checks, in all phases, with and without a
token, on SQLite and on PostgreSQL. Prints what was tried and what failed, and fails if anything did.

Everything is its own and goes again: the program it starts, its folder, its database. Schemathesis is installed once, into
target/fuzz-api; that needs Python 3.10 and PyPI.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VERSION = "4.32.5"
ENOUGH = 5_000  # cases a run, unless fewer are asked for
NETWORK = ["--users", "20", "--posts", "60"]
PEERS = ["user1", "user2"]


def schemathesis():
    folder = TARGET / "fuzz-api" / VERSION
    if not (folder / "installed").exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [folder / "bin/python", "-m", "pip", "install", "--quiet", f"schemathesis=={VERSION}"]
        subprocess.run(install, check=True)
        (folder / "installed").touch()
    return folder / "bin/schemathesis"


@contextlib.contextmanager
def sqlite(folder):
    yield f"sqlite://{folder}/fuzz.sqlite3"


@contextlib.contextmanager
def postgres(server):
    name = f"fuzz_api_{os.getpid()}"

    def sql(query):
        command = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", f"{server}/postgres", "-c", query]
        subprocess.run(command, check=True)

    sql(f"CREATE DATABASE {name}")
    try:
        yield f"{server}/{name}"
    finally:
        sql(f"DROP DATABASE {name} WITH (FORCE)")


def is_ready(base):
    try:
        return urllib.request.urlopen(f"{base}/readyz", timeout=3).status == 200
    except OSError:
        return False


@contextlib.contextmanager
def serving(program, folder, database):
    """The address of the program, on a made-up network."""
    with socket.socket() as listener:  # a port that is free
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {"DATABASE_URL": database, "DATA_DIR": f"{folder}/data", "HOST": "127.0.0.1", "PORT": str(port),
                "AUTO_MIGRATE": "true", "ACCESS_TOKEN_EXPIRE_MINUTES": "600", "RATE_LIMIT_SCALE": "0"}
    subprocess.run([program, "seed", *NETWORK], check=True, env=settings, cwd=folder, stdout=subprocess.DEVNULL)
    with open(f"{folder}/log", "w") as log:
        process = subprocess.Popen([program], env=settings, cwd=folder, stdout=log, stderr=log)
        try:
            base = f"http://127.0.0.1:{port}"
            while not is_ready(base):
                if process.poll() is not None:
                    sys.exit(f"the server has ended: {pathlib.Path(log.name).read_text()}")
                time.sleep(0.1)
            yield base
            if process.poll() is not None:
                sys.exit(f"the server has ended: {pathlib.Path(log.name).read_text()[-2000:]}")
        finally:
            process.terminate()
            process.wait(30)


def identities():
    """How Schemathesis logs in (Web Fuzzing Commons), as two who must not see each other's things."""
    def of(name):
        body = json.dumps({"username": name, "password": "password123"})
        token = {"extractFrom": "body", "extractSelector": "/access_token", "sendIn": "header",
                 "sendName": "Authorization", "sendTemplate": "Bearer {token}"}
        login = {"endpoint": "/users/login", "verb": "POST", "contentType": "application/json", "payloadRaw": body}
        return {"name": name, "loginEndpointAuth": {**login, "token": token}}
    return {"auth": [of(name) for name in PEERS]}


def run(command, base, folder, with_token, arguments):
    """What Schemathesis reports."""
    settings = (HERE / "schemathesis.toml").read_text().replace('"hooks.py"', json.dumps(str(HERE / "hooks.py")))
    if with_token:
        pathlib.Path(folder, "identities.json").write_text(json.dumps(identities()))
        settings += f'\n[auth.wfc]\npath = "{folder}/identities.json"\nuser = "{PEERS[0]}"\npeers = {json.dumps(PEERS)}\n'
    pathlib.Path(folder, "schemathesis.toml").write_text(settings)
    report = pathlib.Path(folder, "report.json")
    options = ["--max-examples", str(arguments.examples), "--generation-database", "none",
               "--no-color", "--report", "json", "--report-json-path", report]
    if arguments.seed is not None:
        options += ["--seed", str(arguments.seed)]
    output = pathlib.Path(folder, "output")
    with open(output, "w") as file:
        config = ["--config-file", f"{folder}/schemathesis.toml"]
        code = subprocess.run([command, *config, "run", f"{base}/openapi.json", *options], cwd=folder, stdout=file,
                              stderr=file).returncode
    if code != 0:
        print(output.read_text())
    return json.loads(report.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=160, help="how many requests fuzzing makes up for an operation")
    parser.add_argument("--seed", type=int, help="chooses them; by chance if it is not said")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--postgres", help="a server on which a database may be made; needs psql",
                        default=os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432"))
    parser.add_argument("--program", default=str(TARGET / "debug/api"))
    arguments = parser.parse_args()
    # Whoever ends it has everything taken away as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))
    command = schemathesis()

    failed = False
    print(f"{'database':10} {'token':6} {'operations':>10} {'tried':>7} {'failed':>7} {'seed':>40}", flush=True)
    for name in arguments.databases.split(","):
        for with_token in [True, False]:
            with tempfile.TemporaryDirectory(prefix="fuzz-api-") as folder:
                place = sqlite(folder) if name == "sqlite" else postgres(arguments.postgres)
                with place as database, serving(arguments.program, folder, database) as base:
                    report = run(command, base, folder, with_token, arguments)
            cases = report["test_cases"]
            tried, wrong = cases["generated"], cases["unique_failures"] + cases["errored"]
            enough = tried >= ENOUGH or arguments.examples < parser.get_default("examples")
            failed |= report["exit_code"] != 0 or wrong > 0 or not enough
            print(f"{name:10} {'yes' if with_token else 'no':6} {report['operations']['tested']:>10} {tried:>7} "
                  f"{wrong:>7} {report['seed']:>40}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
