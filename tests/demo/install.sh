#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh BUILD_FOLDER CC EXAMPLE: what `cmake --install` puts down works from its new place.
set -u
passed=0
failed=0
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
check() { # check NAME COMMAND...
    name=$1
    shift
    if out=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$name" "$out"
    fi
}
check "cmake --install" cmake --install "$1" --prefix "$prefix"
pc=$(dirname "$(find "$prefix" -name tokamak.pc | head -n 1)")
PKG_CONFIG_PATH=$pc
LD_LIBRARY_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
# shellcheck disable=SC2046  # flags are words
check "the example builds with pkg-config" "$2" "$3" $(pkg-config --cflags --libs tokamak) -o "$prefix/ask"
check "and answers" sh -c "'$prefix/ask' '$prefix/share/tokamak/models/demo' 'What is 109 + 802?' | grep -q '^911\$'"
check "the installed program runs" sh -c "'$prefix/bin/tokamak' run '$prefix/share/tokamak/models/demo' -p 'What is 109 + 802?' -q | grep -q '^911\$'"
check "the man page is there" grep -q 'SS run MODEL' "$prefix/share/man/man1/tokamak.1"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
