# Sourced in a build: where packages come from. Secrets and mounts are there while a command runs, and in no layer.
if [ -f /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
if [ -f /run/secrets/index ]; then
    UV_DEFAULT_INDEX=$(cat /run/secrets/index)
    export UV_DEFAULT_INDEX PIP_INDEX_URL="$UV_DEFAULT_INDEX"
fi
if [ -n "$(ls /wheels 2>/dev/null)" ]; then
    export UV_FIND_LINKS=/wheels UV_OFFLINE=1 PIP_FIND_LINKS=/wheels PIP_NO_INDEX=1
fi
