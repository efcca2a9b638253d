# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The common beginning of all scripts: the repository's root and messages. Source it, do not run it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(basename "$0")

say() { printf '\n==> %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "$script" "$*" >&2
    exit 1
}

usage_error() {
    printf '%s: %s (see scripts/%s --help)\n' "$script" "$*" "$script" >&2
    exit 2
}

# usage: prints the comment that opens the calling script.
usage() { sed -n '2,/^[^#]/{ /^# SPDX-/d; s/^# \{0,1\}//; t print; d; :print; p }' "$0"; }

# value_of OPTION [VALUE]: the value that must follow an option.
value_of() {
    [[ $# -ge 2 && -n $2 ]] || usage_error "$1 needs a value"
    printf '%s\n' "$2"
}

# configure PRESET [CMAKE OPTION...], with ccache where it is installed.
configure() {
    local preset=$1 launcher=()
    shift
    if command -v ccache >/dev/null; then
        launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    fi
    (cd "$root" && cmake --preset "$preset" "${launcher[@]}" "$@")
}

# build PRESET [TARGET...]
build() {
    local preset=$1 targets=()
    shift
    [[ $# -eq 0 ]] || targets=(--target "$@")
    (cd "$root" && cmake --build --preset "$preset" --parallel "$(nproc)" "${targets[@]}")
}
