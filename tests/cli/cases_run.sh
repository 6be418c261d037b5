# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# run, chat, tokenize, detokenize, template on the demo model.
demo=$root/models/demo
expect "run answers a question" 0 '^911$' 'first token [0-9.]+ s, prompt [0-9]+ tokens' -- run "$demo" -p 'What is 109 + 802?'
cache=$work/packed
answer() { expect "$1" 0 '^911$' "$2" -- run "$demo" -p 'What is 109 + 802?' --repack-cache "$cache"; }
damage() { printf '%b' "$2" | dd of="$(echo "$cache"/*.tkpack)" bs=1 seek="$1" conv=notrunc 2>/dev/null; }
answer "packed weights are kept" 'packed weights: 11 MiB kept in'
answer "and read at the next start" 'packed weights: 11 MiB read from'
for at in 1 9 25 41 49 100 5000000; do
    damage "$at" 'x'
    answer "a damaged byte $at of packed weights is noticed" 'is damaged: packing again'
    answer "and the file was mended" 'MiB read from'
done
truncate -s 5000000 "$cache"/*.tkpack
answer "packed weights that end early are noticed" 'is damaged: packing again'
rm "$cache"/*.tkpack
mkfifo "$cache/pipe" && mv "$cache/pipe" "$cache/x.tkpack"
answer "other files in the folder are left alone" 'MiB kept in'
rm -r "$cache" && : >"$cache"
answer "a folder that cannot be made costs the file only" 'packed weights are not kept: .*Not a directory'
expect "a cache of packed weights needs packing" 2 '' 'no-repack has none' -- bench kernel -m "$demo" --no-repack --repack-cache "$work/x"
expect "run takes an FP8 cache" 0 '^911$' 'KV cache of [0-9]+ tokens' -- run "$demo" -p 'What is 109 + 802?' --kv-cache-dtype fp8
expect "inspect counts an FP8 cache" 0 'KV cache: 840 bytes per token = 5 layers x .128 latent . 32 rope key. x 1 byte, . 8 a row' '' -- inspect "$demo" --kv-cache-dtype fp8
expect "an unknown type of cache is wrong usage" 2 '' 'fp8_e4m3' -- run "$demo" -p x --kv-cache-dtype int3
expect "run --json has its keys" 0 '^\{"text":".*","prompt_ids":\[0,.*"ids":\[.*"logprobs":\[-?[0-9.e-]+.*"finish_reason":"stop","ttft_s":.*"prefill_tok_s":.*"decode_tok_s":.*"peak_rss_bytes":[0-9]+,"threads":[0-9]+,"isa":"[a-z0-9]+"\}$' '' -- run "$demo" -p 'What is 109 + 802?' --json -q
expect "run --max-tokens ends by length" 0 '"finish_reason":"length"' '' -- run "$demo" -p 'What is 109 + 802?' --max-tokens 3 --json -q
expect "run --stop ends before the text" 0 '"finish_reason":"stop"' '' -- run "$demo" -p 'What is 109 + 802?' --stop carry --json -q
printf "[]\n" >"$work/none"
expect "run refuses an empty prompt of ids" 3 "" "the prompt has no tokens" -- run "$demo" --ids "$work/none" -q
expect "run refuses a context that is too small" 4 '' 'the context holds' -- run "$demo" -p 'Sort 7, 3, 9, 8, 1, 2, 5, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24.' -c 16 -q
expect "run takes the reference kernels" 0 '^911$' '' -- run "$demo" -p 'What is 109 + 802?' --compute ref -q
expect "run --deterministic answers" 0 '^911$' '' -- run "$demo" -p 'What is 109 + 802?' --deterministic -q
expect "tokenize prints ids" 0 '^\[0,' '' -- tokenize "$demo" -p 'hello'
printf '"What is 1 + 2?"\n"\\u0000x"\n' >"$work/in"; input=$work/in
expect "tokenize --jsonl takes a string a line" 0 '^\[0,' '' -- tokenize "$demo" --jsonl
expect "--add-bos no leaves the begin token out" 0 '^\[[1-9]' '' -- tokenize "$demo" --jsonl --add-bos no
printf '"a"\n{}\n' >"$work/in"
expect "a line that is no string ends the run with its number" 3 '^\[' 'input line 2 is not a JSON string' -- tokenize "$demo" --jsonl
printf '[0,3,4,5]\n' >"$work/in"
expect "detokenize shows special tokens as their text" 0 '^"<\|begin\|><\|User\|><\|Assistant\|><think>"$' '' -- detokenize "$demo" --jsonl
printf '[99999]\n' >"$work/in"
expect "detokenize names an id outside the vocabulary" 3 '' 'item 0 is no token id' -- detokenize "$demo" --jsonl
printf '{"messages":[{"role":"user","content":"hi"}]}\n[]\n{"messages":[{"role":"x","content":"hi"}]}\n' >"$work/in"
expect "template renders and goes on after errors" 0 '^"<\|begin\|><\|User\|>hi<\|Assistant\|><think>\\n"$' '' -- template "$demo" --jsonl
expect "template reports a request that is no object" 0 '^\{"error": ?".*not a JSON object' '' -- template "$demo" --jsonl
expect "template reports what the template raises" 0 '^\{"error": ?".*unknown role x' '' -- template "$demo" --jsonl
printf 'What is 109 + 802?\n/help\n/exit\n' >"$work/in"
expect "chat answers and takes commands" 0 '^911$' '' -- chat "$demo" -q
input=/dev/null
