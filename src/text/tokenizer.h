// SPDX-License-Identifier: MIT
// Text to token ids and back: the tokenizers of Hugging Face's tokenizer.json (BPE models with their
// normalizers, pre-tokenizers, post-processors, decoders, added tokens) and of GGUF vocabularies (gpt2 =
// byte-level BPE, llama = SentencePiece-style BPE by score). A tokenizer does not change after opening: any
// thread may use it.
#ifndef TK_TEXT_TOKENIZER_H
#define TK_TEXT_TOKENIZER_H

#include "base/buf.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_tokenizer tk_tokenizer;

typedef enum tk_token_kind { // GGUF's numbers
    TK_TOKEN_NORMAL = 1,
    TK_TOKEN_UNKNOWN = 2,
    TK_TOKEN_CONTROL = 3,
    TK_TOKEN_USER = 4,
    TK_TOKEN_UNUSED = 5,
    TK_TOKEN_BYTE = 6,
} tk_token_kind;

// A piece of text that need not end with NUL.
typedef struct tk_str {
    const char *s;
    size_t len;
} tk_str;

// A vocabulary as a GGUF file describes it. All pointers are borrowed for the call.
typedef struct tk_vocab {
    const char *model; // "gpt2", "llama"
    const char *pre;   // tokenizer.ggml.pre, or NULL
    int32_t n_token;
    const tk_str *tokens; // [n_token]
    const float *scores;  // [n_token] or NULL
    const uint8_t *kinds; // [n_token] tk_token_kind, or NULL
    const tk_str *merges; // [n_merge] "a b"
    int32_t n_merge;
    int32_t bos, eos, eot, unk, pad; // -1 = none
    int add_bos, add_eos;            // 0, 1, or -1 = what the model kind does by itself
    int add_space_prefix;            // likewise
} tk_vocab;

// A folder with tokenizer.json, and tokenizer_config.json and special_tokens_map.json when there.
tk_status tk_tokenizer_open_dir(const char *dir, tk_tokenizer **out, tk_err *err);
tk_status tk_tokenizer_open_vocab(const tk_vocab *v, const char *where, tk_tokenizer **out,
                                  tk_err *err);
// From memory (fuzzing, tests): a tokenizer.json's text.
tk_status tk_tokenizer_open_json(const char *text, size_t len, const char *where,
                                 tk_tokenizer **out, tk_err *err);
void tk_tokenizer_free(tk_tokenizer *t); // NULL is fine

int32_t tk_tokenizer_n_vocab(const tk_tokenizer *t); // highest id + 1
int32_t tk_tokenizer_bos(const tk_tokenizer *t);     // -1 = none
int32_t tk_tokenizer_eos(const tk_tokenizer *t);
int32_t tk_tokenizer_find(const tk_tokenizer *t, const char *text,
                          size_t len); // an added token's id by its text, or -1
// A special token's text by its name in the files ("bos_token"); NULL when there is none. Names: i counts up
// until NULL.
const char *tk_tokenizer_special(const tk_tokenizer *t, const char *name);
const char *tk_tokenizer_special_name(const tk_tokenizer *t, size_t i);

tk_token_kind tk_tokenizer_kind(const tk_tokenizer *t, int32_t id); // UNUSED outside the vocabulary
// Appends the bytes a token stands for inside a text, special or not; false when it has none.
bool tk_tokenizer_token_bytes(const tk_tokenizer *t, int32_t id, tk_buf *out);

typedef enum tk_add_bos { TK_BOS_AUTO, TK_BOS_YES, TK_BOS_NO } tk_add_bos;

typedef struct tk_encode_opts {
    tk_add_bos
        bos; // AUTO: begin (and end) tokens as the files say; NO: neither; YES: begin token for sure
    bool no_special; // text that spells a special token is plain text
} tk_encode_opts;

// *ids in new memory (tk_free), n of them. Broken UTF-8 counts as U+FFFD. TK_BAD_INPUT: text longer than
// TK_LIMIT_TEXT_BYTES.
tk_status tk_tokenizer_encode(const tk_tokenizer *t, const char *text, size_t len,
                              tk_encode_opts opts, int32_t **ids, size_t *n, tk_err *err);

// Appends the text of ids as raw bytes (tokens may end inside a character). Special tokens as their text, or
// nothing when skip_special. TK_BAD_INPUT for an id outside the vocabulary.
tk_status tk_tokenizer_decode(const tk_tokenizer *t, const int32_t *ids, size_t n,
                              bool skip_special, tk_buf *out, tk_err *err);

// Token by token: what is handed out never ends inside a UTF-8 character.
typedef struct tk_detok tk_detok;
tk_detok *tk_detok_new(const tk_tokenizer *t, bool skip_special); // never NULL; one owner
void tk_detok_free(tk_detok *d);                                  // NULL is fine
// The bytes that can be shown now (*len may be 0), valid until the next call.
const char *tk_detok_push(tk_detok *d, int32_t id, size_t *len);
// What is left at the end, an unfinished character as U+FFFD.
const char *tk_detok_flush(tk_detok *d, size_t *len);

// Appends bytes as UTF-8, what is invalid replaced by U+FFFD.
bool tk_text_append_valid(tk_buf *out, const char *s, size_t len);

#endif
