# The image of the gateway, with what its stdio servers need: uv for those in Python, tmux, and a browser.
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.9.13
FROM ${UV_IMAGE} AS uv

# What the Dockerfile of this repository builds.
FROM postern
USER 0:0
RUN apt-get update && apt-get install -y --no-install-recommends chromium git python3 tmux && rm -rf /var/lib/apt/lists/*
COPY --from=uv /uv /uvx /usr/local/bin/
RUN mkdir -p /data/files && chown -R 10001:10001 /data
ENV POSTERN_STATE=/data/state HOME=/tmp
USER 10001:10001
