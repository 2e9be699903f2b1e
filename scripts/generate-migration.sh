#!/bin/sh
# Write, repair, lint and prove a migration: generate-migration.sh --help
# It only looks for the project's Python; the work is in generate-migration.py beside it.
set -u

script=$0
# A link on the PATH leads to the folder that has the rest.
while [ -L "$script" ]; do
    target=$(readlink -- "$script")
    case $target in
        /*) script=$target ;;
        *) script=$(dirname -- "$script")/$target ;;
    esac
done
here=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd -P) || exit 2

# The nearest .venv from the working folder upward.
beside() {
    folder=$PWD
    while :; do
        if [ -x "$folder/.venv/bin/python" ]; then
            printf '%s\n' "$folder/.venv/bin/python"
            return
        fi
        [ "$folder" != / ] && [ -n "$folder" ] || return 1
        folder=$(dirname -- "$folder")
    done
}

if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
elif [ -n "${VIRTUAL_ENV:-}" ] && [ -x "$VIRTUAL_ENV/bin/python" ]; then
    python=$VIRTUAL_ENV/bin/python
else
    python=$(beside || command -v python3 || command -v python) || python=
fi

if [ -z "$python" ] || ! command -v -- "$python" >/dev/null 2>&1; then
    {
        printf 'generate-migration: received no Python%s\n' "${python:+: $python is not there}"
        printf 'expected: the interpreter of the project, with SQLAlchemy and Alembic\n'
        printf 'try: PYTHON=/path/to/python generate-migration.sh --help\n'
    } >&2
    exit 2
fi

exec "$python" "$here/generate-migration.py" "$@"
