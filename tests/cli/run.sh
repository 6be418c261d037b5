#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh TOKAMAK ROOT: the command line as scripts see it (docs/cli.md): exit codes, standard output, errors.
# Every `expect` is a case: expect NAME CODE STDOUT_PATTERN STDERR_PATTERN -- ARGUMENTS (patterns: extended,
# '' = anything); standard input comes from $input.
set -u
tokamak=$1
root=$2
passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
input=/dev/null

expect() {
    name=$1 code=$2 out=$3 err=$4
    shift 5
    "$tokamak" "$@" <"$input" >"$work/out" 2>"$work/err"
    got=$?
    if [ "$got" -eq "$code" ] && { [ -z "$out" ] || grep -Eq -- "$out" "$work/out"; } &&
        { [ -z "$err" ] || grep -Eq -- "$err" "$work/err"; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name: exit $got (expected $code)"
        head -c 600 "$work/out"
        head -c 600 "$work/err"
    fi
}

for part in "$root"/tests/cli/cases_*.sh; do
    # shellcheck disable=SC1090  # the cases
    . "$part"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
