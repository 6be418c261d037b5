#!/bin/sh
# SPDX-License-Identifier: MIT
# headers.sh CC FLAGS...: every header of src/ and include/ compiles alone, has its guard, and can be included
# twice. One case per header.
set -eu
cc=$1
shift
root=$(dirname "$0")/..
cd "$root"
passed=0
failed=0
unit=$(mktemp -d)
trap 'rm -rf "$unit"' EXIT

for header in $(find src include -name "*.h" ! -path "*/tmpl/*" 2>/dev/null | sort); do
    name=${header#src/}
    name=${name#include/}
    isa=
    case $header in
    */avx2/*) isa="-mavx2 -mfma -mf16c -Wno-unused-function" ;;
    */avx512/* | */amx/*) isa="-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16 -mfma -mf16c -Wno-unused-function" ;;
    esac
    printf '#include "%s"\n#include "%s"\nextern int one;\n' "$name" "$name" >"$unit/u.c"
    # shellcheck disable=SC2086  # isa is a list of flags
    if "$cc" -std=gnu17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -Isrc -Iinclude "$@" $isa "$unit/u.c" \
        >"$unit/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $header does not compile alone"
        cat "$unit/log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
