# The orchestrator: webserver, daemon, code servers and run workers. No business code, no data library, no build tools.
# Context: the repository. Secrets, all optional: `ca` (certificates of the package index), `index` (its address).
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
ARG INDEX_URL=
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=/tmp/uv PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/bulkhead
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=secret,id=ca,target=/run/build/ca.crt --mount=type=secret,id=index,target=/run/build/index \
    --mount=type=cache,target=/tmp/uv set -eu; \
    if [ -s /run/build/ca.crt ]; then export SSL_CERT_FILE=/run/build/ca.crt PIP_CERT=/run/build/ca.crt; fi; \
    if [ -s /run/build/index ]; then INDEX_URL=$(cat /run/build/index); fi; \
    if [ -n "$INDEX_URL" ]; then export UV_DEFAULT_INDEX="$INDEX_URL" PIP_INDEX_URL="$INDEX_URL"; fi; \
    python -m venv /opt/uv; \
    /opt/uv/bin/pip install --quiet --no-cache-dir "uv==$UV_VERSION"; \
    /opt/uv/bin/uv sync --frozen --no-dev --extra platform --no-install-project --quiet
COPY orchestrator orchestrator
RUN --mount=type=secret,id=ca,target=/run/build/ca.crt --mount=type=secret,id=index,target=/run/build/index \
    --mount=type=cache,target=/tmp/uv set -eu; \
    if [ -s /run/build/ca.crt ]; then export SSL_CERT_FILE=/run/build/ca.crt; fi; \
    if [ -s /run/build/index ]; then INDEX_URL=$(cat /run/build/index); fi; \
    if [ -n "$INDEX_URL" ]; then export UV_DEFAULT_INDEX="$INDEX_URL"; fi; \
    /opt/uv/bin/uv sync --frozen --no-dev --extra platform --quiet; \
    python -m compileall -q orchestrator; \
    rm -rf .venv/share uv.lock README.md
COPY deployment/workspace.yaml deployment/workspace.yaml
COPY deployment/docker deployment/docker
# In this image it is the instance of the platform in containers.
RUN cp deployment/docker/dagster.yaml deployment/dagster.yaml
# Of a workload, its contract and its lock file, and nothing else.
RUN --mount=type=bind,source=workloads,target=/run/build/workloads set -eu; \
    for contract in /run/build/workloads/*/defs.yaml; do \
      team=$(dirname "$contract"); own=workloads/$(basename "$team"); \
      install -D -m 0644 "$contract" "$own/defs.yaml"; \
      if [ -f "$team/uv.lock" ]; then install -m 0644 "$team/uv.lock" "$own/uv.lock"; fi; \
    done

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG VERSION=latest
LABEL org.opencontainers.image.title="bulkhead-orchestrator" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd --gid 10001 bulkhead && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin bulkhead \
 && install -d -o 10001 -g 10001 /var/lib/bulkhead /run/credentials /run/workload-secrets
COPY --from=build /opt/bulkhead /opt/bulkhead
ENV PATH=/opt/bulkhead/.venv/bin:$PATH \
    BULKHEAD_PROJECT=/opt/bulkhead \
    BULKHEAD_HOME=/var/lib/bulkhead \
    DAGSTER_HOME=/var/lib/bulkhead/dagster \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/bulkhead
USER 10001:10001
CMD ["bulkhead", "doctor"]
