set dotenv-load

# What there is to run
default:
    @just --list

# Serve on http://localhost:8000; without any setting on SQLite, with mails at /dev/inbox
run:
    cargo run

# Every test, on PostgreSQL and on SQLite
test:
    cargo test --workspace --locked

# Bring the database up to date; `just migrate --dry-run` and `just migrate status` only look
migrate *arguments:
    cargo run --quiet -- migrate {{ arguments }}

# What must hold before a commit, besides the tests
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    .ci/check-dependencies
    cargo deny --locked check bans licenses sources

# How fast and how surely live notifications arrive, and what an idle socket costs (needs Node.js; docs/realtime.md)
bench-realtime *options:
    cargo build --release --locked
    npm install --prefix bench --silent --no-audit --no-fund --no-package-lock
    ulimit -n 20000 && node bench/realtime.mjs {{options}}

# Print the OpenAPI document
openapi:
    @cargo run --quiet -- openapi

# Start everything in Docker: PostgreSQL, Redis, a mail catcher on http://localhost:8025, the server
up:
    docker compose up --build --detach --wait

# Stop what `up` started; its data stay
down:
    docker compose down

# The long tests of what must hold when things go wrong; prints what was tried and violated
torture:
    cargo test -p api --test torture --locked -- --ignored --nocapture --test-threads 1

# Thousands of requests made of the OpenAPI document, on both databases (needs Python and psql); `--help` says more
fuzz-api *arguments:
    cargo build --locked
    fuzz/api.py {{ arguments }}

# Nonsense for every parser, so many seconds each (needs cargo-fuzz); also `just fuzz 600 media body`
fuzz *arguments:
    fuzz/parsers {{ arguments }}

# What small parts cost that every request pays: tokens, cursors, JSON
bench:
    cargo bench --locked -p domain --bench passwords
    cargo bench --locked -p application --bench tokens
    cargo bench --locked -p api --bench pages

# What each kind of request costs, on 100,000 posts; `just bench-load --help` says more
bench-load *arguments:
    cargo build --release --locked
    bench/load.py {{ arguments }}
