// SPDX-License-Identifier: MIT
// Every bound on what input may make the program do, in one list. A number read from a file, a request or
// a peer is compared with one of these before anything is allocated or looped by it.
#ifndef TK_BASE_LIMITS_H
#define TK_BASE_LIMITS_H

#include <stdint.h>

// files
#define TK_LIMIT_JSON_BYTES (256u << 20) // tokenizer.json of a 200 k vocabulary is 20-35 MB
#define TK_LIMIT_JSON_DEPTH 64           // jansson's own limit is 2048
#define TK_LIMIT_SAFETENSORS_HEADER_BYTES (100u << 20) // the format's own limit
#define TK_LIMIT_SHARDS 4096
#define TK_LIMIT_TENSORS (1u << 21)
#define TK_LIMIT_TENSOR_NAME_BYTES 1024
#define TK_LIMIT_TENSOR_DIMS 8
#define TK_LIMIT_GGUF_KV (1u << 16)
#define TK_LIMIT_GGUF_ARRAY (1u << 24)
#define TK_LIMIT_GGUF_STRING_BYTES (64u << 20)

// models
#define TK_LIMIT_VOCAB (1 << 22)
#define TK_LIMIT_LAYERS 1024
#define TK_LIMIT_WIDTH (1 << 20) // any one dimension of an activation
#define TK_LIMIT_HEADS 4096
#define TK_LIMIT_EXPERTS 4096
#define TK_LIMIT_CONTEXT (1 << 24)

// text
#define TK_LIMIT_TOKEN_BYTES (1u << 16)
#define TK_LIMIT_TEXT_BYTES (64u << 20) // one text to tokenize
#define TK_LIMIT_TEMPLATE_BYTES (4u << 20)
#define TK_LIMIT_TEMPLATE_STEPS (50u << 20)
#define TK_LIMIT_TEMPLATE_OUT_BYTES (64u << 20)
#define TK_LIMIT_TEMPLATE_MEM_BYTES (256u << 20)
#define TK_LIMIT_TEMPLATE_DEPTH 128
#define TK_LIMIT_JSONL_LINE_BYTES (64u << 20)

// serving
#define TK_LIMIT_SEQS 1024       // running at once
#define TK_LIMIT_WAITING 65536   // queued requests
#define TK_LIMIT_TOP_LOGPROBS 20 // OpenAI's
#define TK_LIMIT_END_IDS 256     // of one request, the model's own included
#define TK_LIMIT_LOGIT_BIAS 4096 // entries of one request

#define TK_LIMIT_THREADS 1024

#endif
