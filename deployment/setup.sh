#!/bin/sh
# Makes one environment: `setup.sh orchestrator`, or `setup.sh workload TEAM`. Called by the Makefile, from its folder.
# `setup.sh starter` makes again what the first compiles.
# Needs Python 3.11 or newer with venv, and a package index; uv comes into .venv with everything else.
set -eu

UV_VERSION=0.13.9

fail() {
    echo "bulkhead setup: $1" >&2
    exit 1
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "no Python 3.11 or newer found (tried: ${PYTHON:-python3, python3.11 to python3.14}). Install one, or name it: make PYTHON=/path/to/python3.12"
}

# A pip that is set up for another index, or for a private CA, stands for uv too.
adopt_pip_settings() {
    cert=$(.venv/bin/python -m pip config get global.cert 2>/dev/null || true)
    index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
    if [ -n "$cert" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$cert"; fi
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$index"; fi
}

orchestrator() {
    python=$(find_python)
    echo "bulkhead setup: the orchestrator's environment ($python)"
    if ! .venv/bin/python -c '' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv || fail "'$python -m venv' failed. On Debian and Ubuntu: apt install python3-venv"
    fi
    if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
            fail "uv $UV_VERSION could not be installed from the package index that pip is set up for"
    fi
    adopt_pip_settings
    .venv/bin/uv sync --frozen --quiet --inexact --python .venv/bin/python ||
        fail "the orchestrator's packages could not be installed (see above)"
    .venv/bin/python -m compileall -q orchestrator || true
    compile_starter
    touch .venv/.ready
}

# It stands in every sandbox. Without a C compiler Python does the same, and takes more memory and time for it.
compile_starter() {
    if [ "$(uname -s)" != Linux ]; then return; fi
    source=orchestrator/backends/supervision/starter.c compiled=.venv/bin/bulkhead-starter
    for how in -static -O2; do
        if ${CC:-cc} -std=c11 -O2 "$how" -o "$compiled.new" "$source" 2>/dev/null; then
            mv "$compiled.new" "$compiled"
            return
        fi
    done
    rm -f "$compiled"
}

# A sandbox shows sources read-only, so a step there cannot keep what it compiled. A file that does not compile is for
# the step that imports it to fail on.
compile_sources() {
    "workloads/$1/.venv/bin/python" -m compileall -q "workloads/$1/src" workloads/sdk/src || true
}

workload() {
    echo "bulkhead setup: the environment of workloads/$1"
    adopt_pip_settings
    base=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
    VIRTUAL_ENV= .venv/bin/uv sync --frozen --quiet --python "$base" --project "workloads/$1" ||
        fail "the packages of workloads/$1 could not be installed (see above)"
    compile_sources "$1"
    touch "workloads/$1/.venv/.ready"
}

case "${1:-}" in
    orchestrator) orchestrator ;;
    starter) compile_starter ;;
    workload) workload "$2" ;;
    *) fail "usage: setup.sh orchestrator | setup.sh starter | setup.sh workload TEAM" ;;
esac
