#!/bin/sh
# `offline.sh bundle FILE [IMAGE...]` saves images, what they are built from and every package as a wheel to one archive;
# `offline.sh load FILE` loads it on a machine without a network. The archive is one that `docker load` reads.
set -eu

LIST=bulkhead-images.txt
OTHER_IMAGES=${OTHER_IMAGES-postgres:17}

fail() {
    echo "bulkhead $action: $1" >&2
    exit 1
}

bundle() {
    file=$1
    shift
    root="$(cd "$(dirname "$0")/../.." && pwd)"
    if [ $# -eq 0 ]; then set -- default; fi
    sh "$root/workload_images/build.sh" build "$@" wheels
    images="$(sh "$root/workload_images/build.sh" names "$@" wheels) $OTHER_IMAGES"
    for image in $OTHER_IMAGES $(sh "$root/workload_images/build.sh" base); do
        docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" ||
            fail "$image is not on this machine and could not be pulled (see above)"
    done
    images="$images $(sh "$root/workload_images/build.sh" base)"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    for image in $images; do echo "$image $(layers "$image")"; done > "$folder/$LIST"
    docker save --output "$file" $images
    tar --append --file "$file" --directory "$folder" "$LIST"
    echo "bulkhead bundle: $(wc -l < "$folder/$LIST") images in $file ($(du -h "$file" | cut -f1))"
}

# The content of an image, under whatever id an engine gives it.
layers() {
    docker image inspect --format '{{join .RootFS.Layers ","}}' "$1"
}

load() {
    [ -r "$1" ] || fail "$1 cannot be read. Name the archive that bundle wrote: make -f Makefile_dev.txt load FILE=bulkhead.tar"
    list=$(tar -xOf "$1" "$LIST" 2>/dev/null) ||
        fail "$1 holds no $LIST: bundle did not write it, or not to its end. Save and carry it again"
    docker load --quiet --input "$1" >/dev/null || fail "the engine could not load $1 (see above)"
    echo "$list" | while read -r image saved; do
        [ "$(layers "$image" 2>/dev/null)" = "$saved" ] ||
            fail "$image is not here as it was saved. Load $1 again; if that does not help, save and carry it again"
        echo "bulkhead load: $image"
    done
}

action=${1:-}
case "$action:$#" in
    bundle:[!01]*) shift && bundle "$@" ;;
    load:2) load "$2" ;;
    *)
        echo "usage: offline.sh bundle FILE [IMAGE...] | offline.sh load FILE" >&2
        exit 64
        ;;
esac
