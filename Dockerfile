# The pipeline as a daemon. `docker compose --profile pipeline up -d` builds and runs it.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin bklit-tui && strip target/release/bklit-tui

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 bklit && mkdir /data && chown bklit /data
COPY --from=build /source/target/release/bklit-tui /usr/local/bin/bklit-tui
USER bklit
ENV BKLIT_DATA_DIR=/data BKLIT_NO_UI=1 BKLIT_LISTEN=0.0.0.0:3001 \
    BKLIT_WEBSOCKET_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 3001 8080
# The image has no curl. With the role ingestion, ready means that events are accepted. With
# tls_cert, 400 ("needs TLS") only shows that the server runs.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/3001 && printf 'GET /ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -Eq ' (200|400) '"]
ENTRYPOINT ["bklit-tui"]
