# Where the foreign clients live once installed, and how a thing gets there whole or not at all. Sourced by the
# other files of this folder; knows none of them. Nothing is ever written into the repository.

TESTS_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE_DIR="${HAYATE_TEST_CACHE:-$HOME/.cache/hayate-tests}"

# cache_key FILE… → twelve hex digits that change when any of the files does.
cache_key() {
  cat "$@" | sha256sum | cut -c1-12
}

# cache_fill DIR FUNCTION ARG…: when DIR is absent, lets FUNCTION fill a fresh folder (its first argument) and moves
# that into place; a failed or interrupted install leaves nothing that looks like a finished one. Safe to race: a
# lock lets one process install and the others wait for it.
cache_fill() {
  local dir="$1" fill="$2"
  shift 2
  [ -e "$dir" ] && return 0
  mkdir -p "$(dirname "$dir")" || return 1
  (
    flock 9 || exit 1
    [ -e "$dir" ] && exit 0
    rm -rf "$dir.part" && mkdir "$dir.part" || exit 1
    if ! "$fill" "$dir.part" "$@" >"$dir.log" 2>&1; then
      echo "installing $(basename "$dir") failed; the last lines of its log:" >&2
      tail -n 20 "$dir.log" >&2
      rm -rf "$dir.part"
      exit 1
    fi
    rm -f "$dir.log"
    mv "$dir.part" "$dir"
  ) 9>"$dir.lock"
}

# need COMMAND…: succeeds when all exist; else names the first that is missing.
need() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || { echo "missing: $command" >&2; return 1; }
  done
}
