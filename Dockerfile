# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# The image includes the C compiler that SQLite and the TLS library need.
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package api \
    && cp target/release/api /usr/local/bin/api

FROM debian:bookworm-slim
# Certificates for TLS to mail servers, Cloudinary and PostgreSQL.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN groupadd --gid 10001 api \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin api \
    && install --directory --owner api --group api --mode 0700 /data
COPY --from=build /usr/local/bin/api /usr/local/bin/api

USER 10001:10001
# The server stores its files in ./data.
WORKDIR /
VOLUME /data
ENV APP_ENV=production
EXPOSE 8000
# The server completes running requests, in up to 10 seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["api", "healthcheck"]
ENTRYPOINT ["api"]
CMD ["serve"]
