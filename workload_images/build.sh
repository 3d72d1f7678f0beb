#!/bin/sh
# `build.sh build [IMAGE...]` builds images, all of them without a name; `build.sh push [IMAGE...]` builds and pushes.
# `build.sh release [IMAGE...]` builds for every platform, straight to REGISTRY (a builder of buildx's own is needed).
# `build.sh names [IMAGE...]` prints what they are called, `build.sh base` the base image.
# What is set on this machine for pip and uv (CA certificates, index) holds in the builds, as secrets.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "bulkhead $action: $1" >&2
    exit 1
}

say() {
    echo "bulkhead $action: $1"
}

# The first pip that has the setting says it.
pip_setting() {
    for python in .venv/bin/python python3; do
        "$python" -m pip config get "$1" 2>/dev/null && return
    done
    return 0
}

# A file of certificates that is the system's own is taken too: it may hold a site's CA.
# What this machine itself trusts: its index may have a certificate that no other machine knows.
system_certificates() {
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -r "$file" ]; then echo "$file" && return; fi
    done
}

adopt_settings() {
    CA_CERTIFICATES=${CA_CERTIFICATES:-${SSL_CERT_FILE:-${PIP_CERT:-$(pip_setting global.cert)}}}
    CA_CERTIFICATES=${CA_CERTIFICATES:-$(system_certificates)}
    PACKAGE_INDEX=${PACKAGE_INDEX:-${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(pip_setting global.index-url)}}}
    HTTP_PROXY=${HTTP_PROXY:-${http_proxy:-}}
    HTTPS_PROXY=${HTTPS_PROXY:-${https_proxy:-}}
    NO_PROXY=${NO_PROXY:-${no_proxy:-}}
    export CA_CERTIFICATES PACKAGE_INDEX HTTP_PROXY HTTPS_PROXY NO_PROXY
    if [ -n "$CA_CERTIFICATES" ] && [ ! -r "$CA_CERTIFICATES" ]; then
        fail "CA_CERTIFICATES (or SSL_CERT_FILE, PIP_CERT, pip's global.cert) names $CA_CERTIFICATES, which cannot be read. Name a file of certificates in PEM form, or unset it"
    fi
}

bake() {
    docker buildx bake --file workload_images/docker-bake.hcl "$@"
}

declarations() {
    CA_CERTIFICATES="" docker buildx bake --file workload_images/docker-bake.hcl --print "$@"
}

# The names that images of these targets get, one a line.
names() {
    declarations "$@" 2>/dev/null | awk '/"tags": \[/ { on = 1; next } /\]/ { on = 0 } on { gsub(/[", ]/, ""); print }'
}

build() {
    say "$(names "$@" | paste -s -d ' ' -)"
    index=PyPI
    if [ -n "$PACKAGE_INDEX" ]; then index="as set on this machine"; fi
    if [ "${WHEELS:-scratch}" != scratch ]; then index="none, wheels of $WHEELS"; fi
    say "base image ${BASE_IMAGE:-as declared}, CA certificates ${CA_CERTIFICATES:-of the base image}, index $index"
    # Contracts are hashed by the orchestrator: without its environment here, its image comes first.
    if ! .venv/bin/python -c 'import orchestrator.contract.catalog' 2>/dev/null; then bake --load orchestrator; fi
    labels=$(sh workload_images/labels.sh)
    if [ "$action" = release ]; then
        echo "$labels" | bake --file - --push "$@"
    else
        # Attestations carry the time of the build; without them, the same image has the same id.
        echo "$labels" | BUILDX_NO_DEFAULT_ATTESTATIONS=1 bake --file - --load "$@"
    fi
}

action=${1:-}
case "$action" in
    build | push | release | names) shift ;;
    base)
        echo "${BASE_IMAGE:-$(sed -n '/^variable "BASE_IMAGE"/,/^}/s/.*default = "\(.*\)"/\1/p' workload_images/docker-bake.hcl)}"
        exit
        ;;
    *)
        echo "usage: build.sh build|push|release|names [IMAGE...] | build.sh base" >&2
        exit 64
        ;;
esac
docker buildx version >/dev/null 2>&1 || fail "docker buildx is not there. Install Docker's buildx plugin, 0.13 or newer"
if [ $# -eq 0 ]; then set -- default; fi
[ -n "$(names "$@")" ] || fail "$* is not declared in workload_images/docker-bake.hcl: $(declarations "$@" 2>&1 | tail -n 1)"
if [ "$action" = names ]; then
    names "$@"
    exit
fi
if [ "$action" != build ] && [ -z "${REGISTRY:-}" ]; then
    fail "REGISTRY says where to push, and is empty: make -f Makefile_dev.txt push REGISTRY=registry.example:5000"
fi
if [ "$action" = release ]; then export RELEASE=1; fi
adopt_settings
build "$@"
if [ "$action" = push ]; then
    for name in $(names "$@"); do
        say "$name"
        docker push --quiet "$name" || fail "$name could not be pushed (see above). To log in: docker login ${REGISTRY%%/*}"
    done
fi
