# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What is promised of a run: memory within the stated bound, and how an interrupt ends it.
demo=$root/models/demo

# note NAME OK: counts one case, OK being 0 or not.
note() {
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        head -c 600 "$work/err"
    fi
}

# within_bound NAME ARGUMENTS: a run's closing report names a peak within the stated memory + 64 MiB, and the
# stated memory is that of the lines before (weights + cache + workspace). Sanitizers' shadow is no part of it.
within_bound() {
    name=$1
    shift
    "$tokamak" run "$@" </dev/null >"$work/out" 2>"$work/err"
    ran=$?
    peak=$(sed -n 's/.*peak memory \([0-9.]*\) MiB (stated.*/\1/p' "$work/err")
    stated=$(sed -n 's/.*(stated \([0-9.]*\) MiB + 64).*/\1/p' "$work/err")
    sum=$(sed -n 's/.*memory: weights.* = \([0-9.]*\) MiB$/\1/p' "$work/err")
    awk -v r="$ran" -v p="${peak:--1}" -v s="${stated:--1}" -v m="${sum:--2}" \
        'BEGIN { exit !(r == 0 && p > 0 && s > 0 && m == s && p <= s + 64) }'
    note "$name: peak ${peak:-?} MiB, stated ${stated:-?} MiB" $?
}

if ! grep -q __asan_init "$tokamak"; then
    within_bound "the demo model stays within its memory" "$demo" -p 'What is 109 + 802?'
    within_bound "so it does with the reference kernels" "$demo" -p 'What is 109 + 802?' --compute ref
    within_bound "and with a long context" "$demo" -p 'hi' --temperature 100 --max-tokens 200 -c 20000
    within_bound "and with its weights packed" "$demo" -p 'What is 109 + 802?' --repack
    gguf=${TOKAMAK_SMOLLM2:-$root/build/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}
    if [ -f "$gguf" ]; then
        within_bound "a GGUF stays within its memory" "$gguf" -p 'What is a tokamak?' --max-tokens 16
        within_bound "so it does packed" "$gguf" -p 'What is a tokamak?' --max-tokens 16 --repack
        within_bound "and with a long prompt" "$gguf" --max-tokens 4 -p "$(head -c 6000 "$root/src/text/bpe.c")"
    fi
fi

# At temperature 100 every token is as good as any, so that the end token stays away for long: the run is still
# on when its first bytes arrive, and it is interrupted then.
mkfifo "$work/pipe"
"$tokamak" run "$demo" -p 'hi' --temperature 100 --seed 1 --compute ref --threads 1 -c 6000 --max-tokens 5000 \
    </dev/null >"$work/pipe" 2>"$work/err" &
runner=$!
exec 3<"$work/pipe"
dd bs=1 count=1 <&3 >"$work/first" 2>/dev/null
kill -INT "$runner"
cat <&3 >"$work/rest"
exec 3<&-
wait "$runner"
code=$?
[ "$code" -eq 5 ] && [ -s "$work/first" ]
note "an interrupt ends generation with exit code 5 (it was $code)" $?
grep -q 'output [0-9]* tokens' "$work/err"
[ $? -ne 0 ]
note "an interrupted run is not reported as a whole one" $?
