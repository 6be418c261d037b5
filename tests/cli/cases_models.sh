# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Real snapshots from tests/golden, whole and broken.
golden=$root/tests/golden/data
first=$(for d in "$golden"/*/; do [ -f "$d/model.safetensors" ] && echo "$d" && break; done)
first=${first%/}
expect "inspect prints parameters and cache" 0 'KV cache: [0-9]+ bytes per token' '' -- inspect "$first"
expect "inspect counts INT4" 0 '^  I4 +0.147 M parameters  74.25 KiB' '' -- inspect "$golden/qwen3-int4-g128"
expect "inspect tells of activations left as they are" 0 '^activations: .* left out' '' -- inspect "$golden/llama-int8-channel"
expect "inspect --json has its keys" 0 '"params_total":[0-9]+.*"kv_bytes_per_token":[0-9]+.*"fits":true.*"program":\[' '' -- inspect "$first" --json
printf '[1,2,3]\n[4]\n' >"$work/ids.jsonl"
expect "logits are written" 0 '' '' -- logits "$first" --jsonl "$work/ids.jsonl" -o "$work/o.safetensors" -q
expect "logits need an output" 2 '' 'usage: tokamak logits' -- logits "$first" --jsonl "$work/ids.jsonl"
printf '[1,99999999]\n' >"$work/bad.jsonl"
expect "ids outside the vocabulary are named" 3 '' 'bad.jsonl line 1: item 1 is no token id' -- logits "$first" --jsonl "$work/bad.jsonl" -o "$work/o2.safetensors"
expect "an output folder that is not there" 3 '' 'cannot make' -- logits "$first" --jsonl "$work/ids.jsonl" -o "$work/no/o.safetensors" -q

broken() { rm -rf "$work/m"; cp -r "$first" "$work/m"; }
broken; head -c 5000 "$first/model.safetensors" >"$work/m/model.safetensors"
expect "a truncated file is named with numbers" 3 '' 'model.safetensors: .*(ends at data byte|header claims|holds) [0-9]+' -- inspect "$work/m"
broken; printf '\377\377\377\377\377\377\377\177{}' >"$work/m/model.safetensors"
expect "a header longer than the file" 3 '' 'header claims 9223372036854775807 bytes' -- inspect "$work/m"
broken; rm "$work/m/model.safetensors"
expect "a folder without weights" 3 '' 'neither model.safetensors nor|there are no weights' -- inspect "$work/m"
broken; rm "$work/m/config.json"
expect "a folder without config.json" 3 '' 'there is no config.json' -- inspect "$work/m"
broken; sed 's/"model_type": "[a-z0-9_]*"/"model_type": "martian"/' "$first/config.json" >"$work/m/config.json"
expect "an unknown architecture" 3 '' 'model_type "martian" is not supported' -- inspect "$work/m"
broken; sed 's/"hidden_size": [0-9]*/"hidden_size": 47/' "$first/config.json" >"$work/m/config.json"
expect "shapes that disagree with the config" 3 '' 'has shape \[.*\], the config asks for' -- inspect "$work/m"
broken; echo '{"model_type": ' >"$work/m/config.json"
expect "config.json that is no JSON" 3 '' 'not valid JSON at line' -- inspect "$work/m"
broken; rm "$work/m/model.safetensors"; ln -s model.safetensors "$work/m/model.safetensors"
expect "a link to itself" 3 '' 'model.safetensors|no weights' -- inspect "$work/m"
broken; rm "$work/m/model.safetensors"; mkfifo "$work/m/model.safetensors"
expect "a pipe in place of a file" 3 '' 'not a regular file' -- inspect "$work/m"
broken; rm "$work/m/model.safetensors"
echo '{"weight_map": {"a": "../../etc/passwd"}}' >"$work/m/model.safetensors.index.json"
expect "a shard outside the folder" 3 '' 'names the shard "../../etc/passwd", which is no file of this folder' -- inspect "$work/m"
echo '{"weight_map": {"a": "gone.safetensors"}}' >"$work/m/model.safetensors.index.json"
expect "a shard that is missing" 3 '' 'gone.safetensors' -- inspect "$work/m"
printf 'GGUF\003\000\000\000\377\377\377\377\377\377\377\177\000\000\000\000\000\000\000\000' >"$work/x.gguf"
expect "a GGUF that claims too many tensors" 3 '' 'tensors are claimed' -- inspect "$work/x.gguf"
printf 'GGUF' >"$work/x.gguf"
expect "a GGUF of four bytes" 3 '' 'x.gguf' -- inspect "$work/x.gguf"
