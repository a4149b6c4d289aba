#!/bin/sh
# Takes secrets from files: where NAME_FILE is set, NAME becomes what that file holds. Then runs the command in its place.
set -eu
for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY WAYMINT_KEY \
    PREFECT_API_AUTH_STRING PREFECT_SERVER_API_AUTH_STRING PREFECT_SERVER_DATABASE_PASSWORD; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        if [ ! -r "$file" ]; then
            echo "secret ${name}_FILE must be a file that user $(id -u) can read; got '$file'." >&2
            exit 78
        fi
        value=$(cat "$file")
        export "$name=$value"
        unset "${name}_FILE"
    fi
done
exec "$@"
