# Every package that any lock file names, as wheels for this platform, and the installer. For a site without an index:
# WHEELS names this image, and the other recipes install from it.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS download
ARG UV_VERSION=0.13.9
WORKDIR /src
COPY . .
RUN --mount=type=secret,id=ca --mount=type=secret,id=index \
    set -e; . workload_images/index.sh; \
    python -m pip download --quiet --no-cache-dir --dest /wheels "uv==${UV_VERSION}"; \
    python -m pip install --quiet --no-cache-dir --root-user-action ignore --no-index --find-links /wheels uv; \
    for project in . workloads/*; do \
        uv export --quiet --frozen --project "$project" --no-dev --all-extras --no-emit-local --no-header -o /requirements.txt; \
        python -m pip download --quiet --no-cache-dir --only-binary :all: --no-deps --require-hashes --dest /wheels \
            --requirement /requirements.txt; \
    done

FROM scratch
COPY --from=download /wheels /
# Nothing runs in it; a name is needed to export it.
CMD ["/wheels"]
