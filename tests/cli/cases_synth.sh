# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Models of random weights: every type is written, reads back and runs; the bytes depend on the seed alone.
s=$work/synth
mkdir -p "$s"
cat >"$s/llama.json" <<'EOF'
{"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 9,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 512,
 "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": [2, 300],
 "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 64}}
EOF
cat >"$s/deepseek.json" <<'EOF'
{"model_type": "deepseek_v3", "hidden_size": 256, "intermediate_size": 512, "moe_intermediate_size": 128,
 "num_hidden_layers": 3, "num_nextn_predict_layers": 1, "num_attention_heads": 4, "vocab_size": 320,
 "max_position_embeddings": 512, "q_lora_rank": 96, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
 "qk_rope_head_dim": 32, "v_head_dim": 32, "n_routed_experts": 8, "n_shared_experts": 1,
 "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1,
 "routed_scaling_factor": 2.5, "bos_token_id": 0, "eos_token_id": 1}
EOF

for shape in llama deepseek; do
    for kind in F32 F16 BF16 FP8 NVFP4 MXFP4 INT4 F32.gguf F16.gguf BF16.gguf Q4_0.gguf Q4_1.gguf Q5_0.gguf \
        Q8_0.gguf Q4_K.gguf Q6_K.gguf MXFP4.gguf; do
        dtype=${kind%.gguf}
        expect "synth writes $shape as $kind" 0 '' '' -- synth "$s/$shape.json" --dtype "$dtype" --seed 7 -t 1 -q -o "$s/a-$kind"
        expect "synth on two threads, $kind" 0 '' '' -- synth "$s/$shape.json" --dtype "$dtype" --seed 7 -t 2 -q -o "$s/b-$kind"
        if diff -r "$s/a-$kind" "$s/b-$kind" >"$work/diff" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: $shape as $kind differs between 1 and 2 threads"
            head -c 300 "$work/diff"
        fi
        expect "inspect reads $shape as $kind" 0 'parameters: ' '' -- inspect "$s/a-$kind"
        expect "$shape as $kind runs" 0 '.' '' -- run "$s/a-$kind" -p "hello there" -n 3 --temp 0 -q
        # the text goes through the whole tokenizer and back
        input=$work/text
        printf 'h\303\251llo the \360\237\246\206\n' >"$input"
        "$tokamak" tokenize "$s/a-$kind" <"$input" >"$work/synth.ids" 2>/dev/null
        input=$work/synth.ids
        expect "its tokenizer, $shape as $kind" 0 "$(printf 'h\303\251llo the \360\237\246\206')" '' -- detokenize "$s/a-$kind"
        input=/dev/null
        rm -rf "$s/a-$kind" "$s/b-$kind"
    done
done

expect "another seed" 0 '' '' -- synth "$s/llama.json" --layers 1 --dtype BF16 --seed 1 -q -o "$s/one.gguf"
expect "layers are those asked for" 0 '"n_layer":1,' '' -- inspect "$s/one.gguf" --json
expect "and one more" 0 '' '' -- synth "$s/llama.json" --layers 1 --dtype BF16 --seed 2 -q -o "$s/two.gguf"
if cmp -s "$s/one.gguf" "$s/two.gguf"; then
    failed=$((failed + 1))
    echo "FAILED: seeds 1 and 2 give the same file"
else
    passed=$((passed + 1))
fi
expect "a shape by its name" 0 '' 'parameters' -- synth smollm2-135m --layers 1 --dtype Q8_0 -o "$s/smol.gguf"
expect "smollm2's one layer reads back" 0 'width 576, vocabulary 49152' '' -- inspect "$s/smol.gguf"

expect "synth never writes over a file" 3 '' 'one.gguf" is there already' -- synth "$s/llama.json" -o "$s/one.gguf"
expect "synth needs an output" 2 '' 'usage: tokamak synth' -- synth "$s/llama.json"
expect "a GGUF file has no FP8" 2 '' 'cannot hold FP8' -- synth "$s/llama.json" --dtype FP8 -o "$s/n.gguf"
expect "a GGUF file has no INT4" 2 '' 'cannot hold INT4' -- synth "$s/llama.json" --dtype INT4 -o "$s/n.gguf"
expect "a folder has no Q4_0" 2 '' 'Q4_0 is a type of GGUF files' -- synth "$s/llama.json" --dtype Q4_0 -o "$s/n"
expect "an unknown type" 2 '' 'Q9_9' -- synth "$s/llama.json" --dtype Q9_9 -o "$s/n"
expect "no such shape" 3 '' '"martian-7b" is no config.json' -- synth martian-7b -o "$s/n"
expect "no layers" 2 '' 'layers' -- synth "$s/llama.json" --layers 0 -o "$s/n"
echo '[1]' >"$s/list.json"
expect "a config that is no object" 3 '' 'not a JSON object' -- synth "$s/list.json" -o "$s/n"
sed 's/"vocab_size": 320/"vocab_size": 99/' "$s/llama.json" >"$s/small.json"
expect "a vocabulary that cannot hold the bytes" 3 '' 'vocabulary of 99 is too small' -- synth "$s/small.json" -q -o "$s/n"
sed 's/"num_attention_heads": 4/"num_attention_heads": 4096, "head_dim": 1048576/' "$s/llama.json" >"$s/wide.json"
expect "heads whose product is no width" 3 '' '4096 heads of 1048576 are wider than' -- synth "$s/wide.json" -q -o "$s/n"
sed 's/"n_routed_experts": 8/"n_routed_experts": 4096/; s/"num_hidden_layers": 3/"num_hidden_layers": 900/' "$s/deepseek.json" >"$s/many.json"
expect "more experts than a file may have" 4 '' '11071488 matrices of experts' -- synth "$s/many.json" -q -o "$s/n"
expect "an output folder's folder that is not there" 3 '' 'cannot make' -- synth "$s/llama.json" -q -o "$s/no/n.gguf"
# a file-size limit stands for the full disk: SIGXFSZ is ignored so that the program sees the error
(
    trap '' XFSZ
    ulimit -f 2000
    "$tokamak" synth llama-3.1-8b --layers 1 -q -o "$s/full.gguf" 2>"$work/err"
    echo $? >"$work/code"
)
if [ "$(cat "$work/code")" = 3 ] && grep -q 'cannot make room for [0-9]* bytes' "$work/err"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "FAILED: a full disk: exit $(cat "$work/code")"
    cat "$work/err"
fi
left=$(find "$s" -name '*incomplete*' -o -name 'n' -o -name 'n.gguf' -o -name 'full.gguf')
if [ -z "$left" ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "FAILED: left behind: $left"
fi
rm -rf "$s"
