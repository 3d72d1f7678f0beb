#!/bin/sh
# Prints the labels of every declared image, as JSON for bake: `labels.sh | docker buildx bake -f docker-bake.hcl -f -`.
# A label changes only with what its image is made from, so that a commit of one team leaves the images of the others.
# Needs the orchestrator for the contracts' hashes: its environment (`make setup`), or its image under REGISTRY and TAG.
# With RELEASE set, a workload's image is tagged with its version, too.
set -euf
cd "$(dirname "$0")/.."

prefix="${REGISTRY:+$REGISTRY/}bulkhead-"
orchestrator="${prefix}orchestrator:${TAG:-latest}"
comma=""

# Reads contracts as a tar archive, prints `team image hash` for each.
hashes() {
    if .venv/bin/python -c 'import orchestrator.contract.catalog' 2>/dev/null; then
        .venv/bin/python -c "$(cat workload_images/contracts.py)"
    elif docker image inspect "$orchestrator" >/dev/null 2>&1; then
        docker run --rm --interactive --network none "$orchestrator" python -c "$(cat workload_images/contracts.py)"
    else
        echo "bulkhead labels: the hash of a contract is computed by the orchestrator, and neither its environment" \
            "(.venv) nor its image ($orchestrator) is there. Run make setup, or" \
            "make -f Makefile_dev.txt build IMAGE=orchestrator" >&2
        exit 1
    fi
}

declared() {
    grep -q "^target \"$1\"" workload_images/docker-bake.hcl
}

# The last commit that touched these paths, marked if they were changed since. Nothing outside of a git repository.
revision() {
    commit=$(git log -1 --format=%H -- "$@" 2>/dev/null) || return 0
    if [ -n "$commit" ] && [ -n "$(git status --porcelain -- "$@")" ]; then commit="$commit-dirty"; fi
    echo "$commit"
}

version() {
    sed -n 's/^version = "\(.*\)"/\1/p' "$1/pyproject.toml" 2>/dev/null | head -n 1
}

# image IMAGE VERSION REVISION TEAM HASH: one target, without the labels that have no value.
image() {
    printf '%s\n    "%s": {"labels": {"org.opencontainers.image.title": "bulkhead-%s"' "$comma" "$1" "$1"
    comma=","
    label org.opencontainers.image.version "$2"
    label org.opencontainers.image.revision "$3"
    label bulkhead.team "$4"
    label bulkhead.contract "$5"
    printf '}'
    if [ -n "${RELEASE:-}" ] && [ -n "$4" ] && [ -n "$2" ]; then
        printf ', "tags": ["%s%s:%s", "%s%s:%s"]' "$prefix" "$1" "${TAG:-latest}" "$prefix" "$1" "$2"
    fi
    printf '}'
}

label() {
    if [ -n "$2" ]; then printf ', "%s": "%s"' "$1" "$2"; fi
}

# What a Python workload's image is made from: its folder, the recipe, and the helper if it uses it.
sources() {
    echo "workloads/$1 :!workloads/$1/tests workload_images/python.Dockerfile* workload_images/index.sh"
    if grep -q '"\.\./sdk"' "workloads/$1/pyproject.toml" 2>/dev/null; then
        echo "workloads/sdk :!workloads/sdk/tests"
    fi
}

contracts=$(find workloads -mindepth 2 -maxdepth 2 -name defs.yaml | tar -c -T - | hashes)
platform=$(version .)
printf '{\n  "target": {'
for file in $(find workloads -mindepth 2 -maxdepth 2 -name defs.yaml | sort); do
    team=$(basename "$(dirname "$file")")
    # Without a line, the contract does not hold, which was said.
    name=$(echo "$contracts" | sed -n "s/^$team \([^ ]*\) .*/\1/p")
    hash=$(echo "$contracts" | sed -n "s/^$team [^ ]* //p")
    if declared "${name:-$team}"; then
        image "${name:-$team}" "$(version "workloads/$team")" "$(revision $(sources "$team"))" "$team" "$hash"
    fi
done
image showcase-shell "$(version workloads/showcase)" \
    "$(revision workloads/showcase ':!workloads/showcase/tests' 'workload_images/shell.Dockerfile*')" showcase ""
image orchestrator "$platform" \
    "$(revision orchestrator deployment pyproject.toml uv.lock 'workloads/*/defs.yaml' 'workloads/*/uv.lock')" "" ""
image init "$platform" "$(revision workload_images/init)" "" ""
image engine-proxy "$platform" "$(revision deployment/engine-proxy)" "" ""
image wheels "$platform" "$(revision workload_images/wheels.Dockerfile uv.lock 'workloads/*/uv.lock')" "" ""
printf '\n  }\n}\n'
