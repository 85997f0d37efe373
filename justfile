set dotenv-load

# List all recipes
default:
    @just --list

# Serve on http://localhost:8000; without settings on SQLite, with mails at /dev/inbox
run:
    cargo run

# Run every test, on PostgreSQL and on SQLite
test:
    cargo test --workspace --locked

# Apply pending migrations; `just migrate --dry-run` and `just migrate status` only list them
migrate *arguments:
    cargo run --quiet -- migrate {{ arguments }}

# Check formatting, lints, dependency direction and licenses; run it before every commit
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    .ci/check-dependencies
    cargo deny --locked check bans licenses sources

# Measure delivery of live notifications and memory of idle sockets (needs Node.js; docs/realtime.md)
bench-realtime *options:
    cargo build --release --locked
    npm install --prefix bench --silent --no-audit --no-fund --no-package-lock
    ulimit -n 20000 && node bench/realtime.mjs {{options}}

# Print the OpenAPI document
openapi:
    @cargo run --quiet -- openapi

# Start PostgreSQL, Redis, a mail catcher (http://localhost:8025) and the server in Docker
up:
    docker compose up --build --detach --wait

# Stop the containers of `up`; keeps their data
down:
    docker compose down

# Run the long resilience tests: crashes, outages, attacks
resilience:
    cargo test -p api --test api --locked resilience -- --ignored --nocapture --test-threads 1

# Send thousands of requests generated from the OpenAPI document, on both databases (needs Python and psql; `--help`)
fuzz-api *arguments:
    cargo build --locked
    fuzz/api.py {{ arguments }}

# Fuzz every parser (needs cargo-fuzz); `just fuzz 600 media body` runs two for 600 seconds each
fuzz *arguments:
    fuzz/parsers {{ arguments }}

# Measure parts of every request: tokens, cursors, JSON, passwords
bench:
    cargo bench --locked -p domain --bench passwords
    cargo bench --locked -p application --bench tokens
    cargo bench --locked -p api --bench pages
    cargo bench --locked -p media-sanitizer --features testing --bench worst

# Measure the cost of each kind of request, on 100,000 posts (needs wrk; `--help`)
bench-load *arguments:
    cargo build --release --locked
    bench/load.py {{ arguments }}

# Draw the plots of docs/performance.md from bench/results (needs Python)
plots:
    bench/plots.py
