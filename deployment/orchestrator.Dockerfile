# The orchestrator: webserver, daemon, code servers and run workers. No business code, no data library, no build tools.
# The context is the repository. Installers, and the address, certificates and login they used, reach no layer.
ARG BASE_IMAGE=python:3.13-slim-trixie
# An image that holds wheels (workload_images/wheels.Dockerfile), to install from it without an index.
ARG WHEELS=scratch

FROM ${WHEELS} AS wheels

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_CACHE_DIR=/root/.cache/uv
WORKDIR /opt/bulkhead
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    . /index.sh && python -m venv /opt/uv && /opt/uv/bin/pip install --quiet --no-cache-dir "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock README.md LICENSE ./
# By name and hash, the locked packages come from the index that is set.
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,id=bulkhead-uv,target=/root/.cache/uv \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    . /index.sh && \
    /opt/uv/bin/uv export --quiet --frozen --no-dev --extra platform --no-emit-project --no-header -o /requirements.txt && \
    /opt/uv/bin/uv venv --quiet --python "$(command -v python)" .venv && \
    /opt/uv/bin/uv pip install --quiet --python .venv --no-deps --require-hashes -r /requirements.txt
COPY orchestrator orchestrator
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,id=bulkhead-uv,target=/root/.cache/uv \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    . /index.sh && \
    /opt/uv/bin/uv sync --quiet --frozen --no-dev --extra platform --inexact && \
    python -m compileall -q orchestrator && rm -f uv.lock README.md
COPY deployment/workspace.yaml deployment/workspace.yaml
COPY deployment/docker deployment/docker
# In this image, the platform's instance is the one in containers.
RUN mv deployment/docker/dagster.yaml deployment/dagster.yaml
# Of a workload, its contract and its lock file, and nothing else.
RUN --mount=type=bind,source=workloads,target=/workloads set -eu; \
    for contract in /workloads/*/defs.yaml; do \
      team=$(basename "$(dirname "$contract")"); \
      install -D -m 0644 "$contract" "workloads/$team/defs.yaml"; \
      if [ -f "/workloads/$team/uv.lock" ]; then install -m 0644 "/workloads/$team/uv.lock" "workloads/$team/uv.lock"; fi; \
    done

FROM ${BASE_IMAGE}
# The folders where volumes are mounted: an empty volume takes over whose they are.
RUN echo 'bulkhead:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'bulkhead:x:10001:' >> /etc/group && \
    install -d -o 10001 -g 10001 /var/lib/bulkhead /run/credentials /run/workload-secrets && \
    if python -c 'import pip' 2>/dev/null; then \
        python -m pip uninstall --quiet --yes --no-cache-dir --root-user-action ignore pip; \
    fi && \
    python -m compileall -q -x '/(site|dist)-packages/|/tests?/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/bulkhead /opt/bulkhead
ENV PATH=/opt/bulkhead/.venv/bin:${PATH} \
    BULKHEAD_PROJECT=/opt/bulkhead \
    BULKHEAD_HOME=/var/lib/bulkhead \
    DAGSTER_HOME=/var/lib/bulkhead/dagster \
    HOME=/tmp LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/bulkhead
USER 10001:10001
CMD ["bulkhead", "doctor"]
