# The image of a Python workload: one recipe for all, the workload named by TEAM. The context is the repository.
# No stage but the last reaches the image: not the installer, nor the address, the certificates or the login it used.
ARG BASE_IMAGE=python:3.13-slim-trixie
# An image that holds wheels (wheels.Dockerfile), to install from it without an index.
ARG WHEELS=scratch

FROM ${WHEELS} AS wheels

FROM ${BASE_IMAGE} AS installer
ARG UV_VERSION=0.13.9
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    . /index.sh && python -m pip install --quiet --no-cache-dir --root-user-action ignore "uv==${UV_VERSION}"
# Nothing is written that depends on the time: an environment made twice from one lock file has the same files.
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/app/.venv UV_NO_INSTALLER_METADATA=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH

# The locked packages. `uv sync --frozen` takes them from the addresses in the lock file; by name and hash, they come
# from the index that is set, and are the same files.
FROM installer AS packages
ARG TEAM
WORKDIR /src/${TEAM}
COPY workloads/${TEAM}/pyproject.toml workloads/${TEAM}/uv.lock ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    --mount=type=cache,id=bulkhead-uv,target=/root/.cache/uv \
    . /index.sh && \
    uv export --quiet --frozen --no-dev --no-emit-local --no-header --output-file /requirements.txt && \
    uv venv --quiet --python "$(command -v python)" /app/.venv && \
    uv pip install --quiet --python /app/.venv --compile-bytecode --no-deps --require-hashes -r /requirements.txt && \
    rm -f /app/.venv/.lock && \
    find /app -exec touch --no-dereference --date=@315532800 {} +

# The team's own packages, and the files of its folder. What is new in the environment is set apart, so that a change
# of source makes a new layer of this size, and not one with every package.
FROM packages AS own
ARG TEAM
COPY workloads/sdk /src/sdk
COPY workloads/${TEAM} ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=workload_images/index.sh,target=/index.sh \
    --mount=type=cache,id=bulkhead-uv,target=/root/.cache/uv \
    . /index.sh && touch /before && \
    uv sync --quiet --frozen --no-dev --no-editable --inexact --python /app/.venv/bin/python && \
    mkdir /own && cp -r . /own && cd /app && \
    find .venv -cnewer /before ! -type d ! -name .lock -exec cp --parents --no-dereference -t /own {} + && \
    /app/.venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /own -s /own -p /app && \
    ln -s /tmp /own/.standalone && \
    find /own -exec touch --no-dereference --date=@315532800 {} +

FROM ${BASE_IMAGE}
# A user with a name, for programs that ask for it; no installer; and the standard library's bytecode, where it lacks.
RUN echo 'bulkhead:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'bulkhead:x:10001:' >> /etc/group && \
    if python -c 'import pip' 2>/dev/null; then \
        python -m pip uninstall --quiet --yes --no-cache-dir --root-user-action ignore pip; \
    fi && rm -rf /root/.cache && \
    python -m compileall -q -x '/(site|dist)-packages/|/tests?/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/app/.venv/bin:${PATH} HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --from=packages /app/.venv /app/.venv
COPY --from=own /own /app
USER 10001:10001
CMD ["python"]
