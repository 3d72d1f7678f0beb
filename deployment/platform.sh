#!/bin/sh
# Operates the platform in containers: `platform.sh up|down|logs|ps|reset`. Called by the Makefile, from its folder.
# ENV names the file with the settings, deployment/env/<ENV>.env; variables of the shell come before it.
set -eu

ENV=${ENV:-dev}
FILE=deployment/env/$ENV.env
IMAGES="orchestrator engine-proxy init $(ls -d workloads/*/defs.yaml | cut -d/ -f2)"

say() {
    echo "bulkhead: $1"
}

fail() {
    echo "bulkhead: $1" >&2
    exit 1
}

known_environment() {
    [ -f "$FILE" ] || fail "there is no $FILE. Known: $(cd deployment/env && ls ./*.env | sed 's#\./##; s#\.env##' | paste -s -d ' ' -)"
}

engine() {
    command -v docker >/dev/null 2>&1 ||
        fail "the platform in containers needs Docker, and there is no docker command. Install Docker Engine and its compose plugin, or run without: make demo"
    reason=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) ||
        fail "no Docker engine answers: $(echo "$reason" | tail -n 1). Start it, or run without: make demo"
    docker compose version >/dev/null 2>&1 ||
        fail "docker compose is not there. Install Docker's compose plugin, 2.24 or newer, or run without: make demo"
}

compose() {
    docker compose --env-file "$FILE" --project-directory . -f docker-compose.yml "$@"
}

# The value of a setting: from the shell, else from the file.
setting() {
    eval "value=\${$1:-}"
    [ -n "$value" ] || value=$(sed -n "s/^$1=//p" "$FILE")
    echo "$value"
}

image() {
    registry=$(setting REGISTRY)
    tag=$(setting TAG)
    echo "${registry:+$registry/}bulkhead-$1:${tag:-latest}"
}

# With a registry, its images; without one, those that are here. What can be had neither way is built.
images() {
    for one in $IMAGES; do
        name=$(image "$one")
        if [ -n "$(setting REGISTRY)" ]; then
            say "pulling $name"
            if docker pull --quiet "$name" >/dev/null; then continue; fi
        elif docker image inspect "$name" >/dev/null 2>&1; then
            continue
        fi
        say "building $name"
        REGISTRY=$(setting REGISTRY) TAG=$(setting TAG) make --no-print-directory -f Makefile_dev.txt build IMAGE="$one" ||
            fail "$name could neither be pulled nor built (see above)"
    done
}

# The group of the engine's socket, as the engine itself sees it: it may run in a virtual machine.
socket_group() {
    docker run --rm --network none --user 10001:10001 -v "${DOCKER_SOCKET:-/var/run/docker.sock}:/engine.sock:ro" \
        "$(image engine-proxy)" python -c 'import os; print(os.stat("/engine.sock").st_gid)'
}

# The id of each workload's image: the code version of its assets.
ids() {
    for team in $(ls -d workloads/*/defs.yaml | cut -d/ -f2); do
        echo "$team=$(docker image inspect --format '{{.Id}}' "$(image "$team")")"
    done | paste -s -d ' ' -
}

up() {
    images
    IMAGE_IDS=$(ids)
    export IMAGE_IDS
    DOCKER_GID=${DOCKER_GID:-$(socket_group)}
    export DOCKER_GID
    say "starting $(setting PROJECT)"
    if ! compose up --detach --wait --remove-orphans; then
        compose ps --all
        fail "the platform did not become healthy. What its parts say: make logs ENV=$ENV"
    fi
    say "healthy: http://$(compose port webserver 3000)"
}

# Run workers and steps belong to no service.
own_containers() {
    docker ps --quiet "$@" --filter "label=bulkhead.platform=$(setting PROJECT)"
}

down() {
    # Nothing new starts from the queue; then what runs is cancelled as the UI does it, which ends its steps.
    compose stop daemon
    if [ -n "$(own_containers --filter label=dagster/run_id)" ]; then
        say "cancelling runs"
        compose exec -T webserver python deployment/docker/cancel.py || say "runs could not be cancelled; they will count as lost"
    fi
    compose stop webserver collector
    left=$(own_containers --all)
    if [ -n "$left" ]; then docker rm --force --volumes $left >/dev/null 2>&1 || true; fi
    compose down --remove-orphans "$@"
}

reset() {
    project=$(setting PROJECT)
    if [ "${FORCE:-}" != 1 ]; then
        printf 'This removes %s with all its data: stores, datasets, records, secrets. Type its name to go on: ' "$project"
        read -r answer || answer=""
        [ "$answer" = "$project" ] || fail "nothing was removed"
    fi
    down --volumes
}

known_environment
engine
case "${1:-}" in
    up) up ;;
    down) down ;;
    reset) reset ;;
    ps) compose ps --all ;;
    logs) shift && compose logs --follow --tail 100 "$@" ;;
    *) fail "usage: platform.sh up|down|reset|ps|logs [SERVICE...]" ;;
esac
