#!/usr/bin/env bash
# The Python clients: a virtual environment in the cache with the pinned packages of tests/lib/python.
# Source it for the functions, or run `python.sh FUNCTION ARG…`.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

PYTHON_REQUIREMENTS="$TESTS_DIR/lib/python/requirements.txt"
PYTHON_VENV="$CACHE_DIR/python-$(cache_key "$PYTHON_REQUIREMENTS")"

# The environment is made where it will stay, not moved there: its scripts hold their own path. Only the marker folder
# goes through cache_fill, last.
python_fill() {
  python3 -m venv --clear "$PYTHON_VENV.venv" &&
    "$PYTHON_VENV.venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: -r "$PYTHON_REQUIREMENTS" &&
    ln -s "$PYTHON_VENV.venv" "$1/venv"
}

python_install() {
  need python3 || return 1
  cache_fill "$PYTHON_VENV" python_fill
}

# python_run FILE ARG…: a program under the environment's interpreter.
python_run() {
  PYTHONDONTWRITEBYTECODE=1 exec "$PYTHON_VENV/venv/bin/python" "$@"
}

# python_driver NAME BOOTSTRAP: the driver of tests/clients/NAME on this standard input and output.
python_driver() {
  python_run "$TESTS_DIR/clients/$1/driver.py" "${@:2}"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
