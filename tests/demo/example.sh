#!/bin/sh
# SPDX-License-Identifier: MIT
# example.sh ASK: the example program of the C API, on the demo model.
set -u
passed=0
failed=0
check() { # check NAME PATTERN CODE ARGUMENTS...
    name=$1 pattern=$2 code=$3
    shift 3
    out=$("$@" 2>&1)
    if [ $? -eq "$code" ] && printf '%s' "$out" | grep -q "$pattern"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$name" "$out"
    fi
}
check "the example answers a question" '^911$' 0 "$1" demo 'What is 109 + 802?'
check "the example reports a missing model" 'does not exist' 3 "$1" /nowhere hello
check "the example explains itself" 'usage' 2 "$1"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
