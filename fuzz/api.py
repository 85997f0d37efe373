#!/usr/bin/env python3
"""Tests the API with requests that Schemathesis generates from the OpenAPI document: all checks in all phases, with and
without a token, on SQLite and PostgreSQL. Prints the number of requests and failures; fails if a request failed.

Starts its own server with a temporary directory and a temporary database, and removes them afterwards. Installs
Schemathesis into target/fuzz-api on the first run, which needs Python 3.10 and PyPI.
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
TARGET_DIR = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SCHEMATHESIS_VERSION = "4.32.5"
MIN_CASES = 5_000  # per run with the default number of examples
SEED_OPTIONS = ["--users", "20", "--posts", "60"]
USERS = ["user1", "user2"]


def install_schemathesis():
    """Returns the path of the command."""
    folder = TARGET_DIR / "fuzz-api" / SCHEMATHESIS_VERSION
    if not (folder / "installed").exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [folder / "bin/python", "-m", "pip", "install", "--quiet", f"schemathesis=={SCHEMATHESIS_VERSION}"]
        subprocess.run(install, check=True)
        (folder / "installed").touch()
    return folder / "bin/schemathesis"


@contextlib.contextmanager
def sqlite_database(folder):
    yield f"sqlite://{folder}/fuzz.sqlite3"


@contextlib.contextmanager
def postgres_database(server):
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
def running_server(program, folder, database):
    """Starts the server on a generated network and yields its base URL."""
    with socket.socket() as listener:  # finds a free port
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {"DATABASE_URL": database, "DATA_DIR": f"{folder}/data", "HOST": "127.0.0.1", "PORT": str(port),
                "AUTO_MIGRATE": "true", "ACCESS_TOKEN_EXPIRE_MINUTES": "600", "RATE_LIMIT_SCALE": "0"}
    subprocess.run([program, "seed", *SEED_OPTIONS], check=True, env=settings, cwd=folder, stdout=subprocess.DEVNULL)
    with open(f"{folder}/log", "w") as log:
        process = subprocess.Popen([program], env=settings, cwd=folder, stdout=log, stderr=log)
        try:
            base = f"http://127.0.0.1:{port}"
            while not is_ready(base):
                if process.poll() is not None:
                    sys.exit(f"the server exited: {pathlib.Path(log.name).read_text()}")
                time.sleep(0.1)
            yield base
            if process.poll() is not None:
                sys.exit(f"the server exited: {pathlib.Path(log.name).read_text()[-2000:]}")
        finally:
            process.terminate()
            process.wait(30)


def identities():
    """Describes how Schemathesis logs in (Web Fuzzing Commons), as two users that must not access each other's data."""
    def identity(name):
        body = json.dumps({"username": name, "password": "password123"})
        token = {"extractFrom": "body", "extractSelector": "/access_token", "sendIn": "header",
                 "sendName": "Authorization", "sendTemplate": "Bearer {token}"}
        login = {"endpoint": "/users/login", "verb": "POST", "contentType": "application/json", "payloadRaw": body}
        return {"name": name, "loginEndpointAuth": {**login, "token": token}}
    return {"auth": [identity(name) for name in USERS]}


def run(command, base, folder, with_token, arguments):
    """Runs Schemathesis and returns its report."""
    settings = (HERE / "schemathesis.toml").read_text().replace('"hooks.py"', json.dumps(str(HERE / "hooks.py")))
    if with_token:
        pathlib.Path(folder, "identities.json").write_text(json.dumps(identities()))
        settings += f'\n[auth.wfc]\npath = "{folder}/identities.json"\nuser = "{USERS[0]}"\npeers = {json.dumps(USERS)}\n'
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
    parser.add_argument("--examples", type=int, default=160,
                        help="number of requests that the fuzzing phase generates per operation")
    parser.add_argument("--seed", type=int, help="seed of the generator, random by default")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--postgres", help="server on which a temporary database is created; needs psql",
                        default=os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432"))
    parser.add_argument("--program", default=str(TARGET_DIR / "debug/api"))
    arguments = parser.parse_args()
    # Turns the signal into an exception, so that the server and the database are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    command = install_schemathesis()

    failed = False
    print(f"{'database':10} {'token':6} {'operations':>10} {'requests':>8} {'failed':>7} {'seed':>40}", flush=True)
    for name in arguments.databases.split(","):
        for with_token in [True, False]:
            with tempfile.TemporaryDirectory(prefix="fuzz-api-") as folder:
                database = sqlite_database(folder) if name == "sqlite" else postgres_database(arguments.postgres)
                with database as url, running_server(arguments.program, folder, url) as base:
                    report = run(command, base, folder, with_token, arguments)
            cases = report["test_cases"]
            requests, failures = cases["generated"], cases["unique_failures"] + cases["errored"]
            is_enough = requests >= MIN_CASES or arguments.examples < parser.get_default("examples")
            failed |= report["exit_code"] != 0 or failures > 0 or not is_enough
            print(f"{name:10} {'yes' if with_token else 'no':6} {report['operations']['tested']:>10} {requests:>8} "
                  f"{failures:>7} {report['seed']:>40}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
