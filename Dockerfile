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
ENV BKLIT_DATA_DIR=/data BKLIT_NO_UI=1 BKLIT_LISTEN=0.0.0.0:3001
VOLUME /data
EXPOSE 3001
ENTRYPOINT ["bklit-tui"]
