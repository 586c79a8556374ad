#!/usr/bin/env bash
# The clients that come as Debian packages: kcat. A person's machine is changed only when asked to: with CI=true or
# --install; otherwise the line to run is printed and the client counts as missing.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

DEBIAN_PACKAGES=(kcat)

# debian_missing → those of the packages whose command is not there (each package is named like its command).
debian_missing() {
  local package
  for package in "${DEBIAN_PACKAGES[@]}"; do
    command -v "$package" >/dev/null || echo "$package"
  done
}

# debian_install [--install]
debian_install() {
  local missing sudo=""
  missing="$(debian_missing | tr '\n' ' ')"
  [ -z "$missing" ] && return 0
  [ "$(id -u)" = 0 ] || sudo="sudo "
  if [ "${CI:-}" != true ] && [ "${1:-}" != --install ]; then
    echo "missing: $missing— to install: ${sudo}apt-get install -y --no-install-recommends $missing" >&2
    return 1
  fi
  need apt-get || return 1
  ${sudo}apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive ${sudo}apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# kcat_driver BOOTSTRAP: the driver of tests/clients/kcat on this standard input and output.
kcat_driver() {
  PYTHONDONTWRITEBYTECODE=1 exec python3 "$TESTS_DIR/clients/kcat/driver.py" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
