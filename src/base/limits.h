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

// the hub's answers
#define TK_LIMIT_HUB_JSON_BYTES (16u << 20) // the listing of 10,000 files has about 3 MB
#define TK_LIMIT_HUB_FILES (1u << 16)
#define TK_LIMIT_HUB_NAME_BYTES 1024
#define TK_LIMIT_HUB_FILE_BYTES ((uint64_t)1 << 50)
#define TK_LIMIT_HUB_REDIRECTS 8
#define TK_LIMIT_HUB_JOBS 64 // files in flight
#define TK_LIMIT_HUB_TOKEN_BYTES 4096

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

// planner
#define TK_LIMIT_CATALOG_FILES 1024
#define TK_LIMIT_CATALOG_BYTES (1u << 20) // one catalogue file
#define TK_LIMIT_POINTS_BYTES (64u << 20) // a CSV of measured points
#define TK_LIMIT_POINTS (1 << 20)
#define TK_LIMIT_GPUS (1 << 20)
#define TK_LIMIT_SIM_REQUESTS (1 << 26)

// grammar masks (JSON Schema -> automaton)
#define TK_LIMIT_SCHEMA_NODES 8192     // schemas looked at, those reached through $ref once
#define TK_LIMIT_GRAMMAR_STATES 100000 // of the automaton
#define TK_LIMIT_GRAMMAR_EDGES 400000
#define TK_LIMIT_GRAMMAR_RULES 20000
#define TK_LIMIT_GRAMMAR_STACK 96      // levels of nesting of what is written
#define TK_LIMIT_GRAMMAR_PATHS 256     // readings of what is written that are followed at once
#define TK_LIMIT_GRAMMAR_CACHE 20000   // sets of states remembered
#define TK_LIMIT_GRAMMAR_MASKS 256     // masks remembered of one grammar
#define TK_LIMIT_OBJECT_PROPERTIES 200 // of one object schema
#define TK_LIMIT_PATTERN_STATES                                                                    \
    4096 // of a pattern's automaton, before and after it is made deterministic
#define TK_LIMIT_PATTERN_BYTES 4096
#define TK_LIMIT_PATTERN_STEPS 20000000u // of making it deterministic
#define TK_LIMIT_PATTERN_DEPTH 32

// serving
#define TK_LIMIT_HTTP_LINE_BYTES 8192 // of the request line
#define TK_LIMIT_HTTP_HEAD_BYTES 32768
#define TK_LIMIT_HTTP_HEADERS 100
#define TK_LIMIT_HTTP_BODY_BYTES (16u << 20)     // what --max-body-bytes is when not given
#define TK_LIMIT_HTTP_PIPELINE_BYTES (64u << 10) // sent by a client that has an answer outstanding
#define TK_LIMIT_HTTP_BACKLOG_BYTES (1u << 20)   // streamed, but not read by the client
#define TK_LIMIT_SERVER_EVENTS 4096  // of one request, between the engine and the event loop
#define TK_LIMIT_SERVER_CALLS 8192   // requests that wait to be read and tokenized
#define TK_LIMIT_REQUEST_CHOICES 128 // n times prompts
#define TK_LIMIT_REQUEST_MESSAGES 8192
#define TK_LIMIT_REQUEST_TOOLS 128
#define TK_LIMIT_REQUEST_STOPS 16
#define TK_LIMIT_API_KEYS 1024
#define TK_LIMIT_API_KEY_BYTES 256
#define TK_LIMIT_SEQS 1024       // running at once
#define TK_LIMIT_WAITING 65536   // queued requests
#define TK_LIMIT_TOP_LOGPROBS 20 // OpenAI's
#define TK_LIMIT_END_IDS 256     // of one request, the model's own included
#define TK_LIMIT_LOGIT_BIAS 4096 // entries of one request

#define TK_LIMIT_THREADS 1024
#define TK_LIMIT_NODES 64 // of memory; two EPYCs with a node for each L3 have 24 or 32

#endif
