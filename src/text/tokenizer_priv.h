// SPDX-License-Identifier: MIT
// Inside a tokenizer. Encoding: added tokens are cut out of the raw text, the rest is normalised, cut by
// those added tokens that want normalised text, then pre-tokenized into words, and each word goes through BPE.
//
// Byte-level vocabularies are kept as raw bytes (their printable disguise is taken off on loading), so that
// pre-tokenization and BPE work on the text itself.
#ifndef TK_TEXT_TOKENIZER_PRIV_H
#define TK_TEXT_TOKENIZER_PRIV_H

#include "base/arena.h"
#include "base/map.h"
#include "text/tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MAX_STEPS = 24, MAX_SPECIAL_NAMES = 24, MAX_AROUND = 8 };

typedef enum step_kind {
    // normalizers
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_STRIP,
    NORM_STRIP_ACCENTS,
    // pre-tokenizers
    PRE_BYTE_LEVEL,
    PRE_SPLIT,
    PRE_METASPACE,
    // decoders
    DEC_BYTE_LEVEL,
    DEC_BYTE_FALLBACK,
    DEC_REPLACE,
    DEC_STRIP,
    DEC_METASPACE,
} step_kind;

typedef enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_PREVIOUS,
    SPLIT_NEXT,
    SPLIT_CONTIGUOUS
} split_behavior;
typedef enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } prepend_scheme;

typedef struct step {
    step_kind kind;
    pcre2_code *re;    // split and replace by pattern; NULL = by text
    tk_str text, with; // split: text; replace: text -> with; prepend: with; strip: the character
    split_behavior behavior;
    bool invert;
    bool add_prefix_space;  // byte level
    bool left, right;       // strip (normalizer)
    int start;              // strip (decoder): how many at the beginning
    bool fused;             // decoder: works on the whole text, not on each token
    prepend_scheme prepend; // metaspace
    bool split;             // metaspace
} step;

typedef struct added_token {
    tk_str text;
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
} added_token;

// Added tokens by their first byte, longest first: leftmost-longest matching.
typedef struct added_set {
    added_token **by_first[256];
    int n_by_first[256];
    bool any;
} added_set;

typedef struct pair_map { // (left id, right id) -> merge
    struct pair_slot {
        uint64_t key; // left << 32 | right; UINT64_MAX = empty
        int32_t rank, id;
    } * slots;
    size_t n_slot;
} pair_map;

struct tk_tokenizer {
    tk_arena *arena;
    char *where;
    int32_t n_vocab;
    tk_str *token;   // [n_vocab] raw bytes (byte level) or text; s NULL = no such id
    uint8_t *kind;   // [n_vocab] tk_token_kind
    tk_map *by_text; // ordinary tokens -> id
    tk_map
        *odd; // byte level: those that are no disguised bytes, by their text; no input spells them
    bool byte_level; // symbols are bytes
    bool by_score;   // SentencePiece: merges by score of the result
    float *score;
    pair_map merges;
    int32_t byte_id[256]; // byte level: the byte's token; else <0xXX>; -1 = none
    bool byte_fallback, fuse_unk, ignore_merges;
    int32_t unk;
    step norm[MAX_STEPS], pre[MAX_STEPS], dec[MAX_STEPS];
    int n_norm, n_pre, n_dec;
    added_token *added;
    int n_added;
    bool join_spaces; // decoding without a decoder
    added_set raw, normal;
    int32_t before[MAX_AROUND], after[MAX_AROUND]; // what the post-processor puts around a text
    int n_before, n_after;
    int32_t bos, eos;
    struct {
        char *name, *text;
    } special[MAX_SPECIAL_NAMES];
    int n_special;
};

typedef struct id_buf { // growing list of ids
    int32_t *ids;
    size_t n, cap;
} id_buf;

void id_buf_add(id_buf *b, int32_t id);

// normalize.c: appends the normalised text to out; false when out's maximum is reached.
bool tok_normalize(const tk_tokenizer *t, const char *s, size_t len, tk_buf *out);
// pretok.c: words of a stretch of text, in order, each to BPE. first: at the very beginning of the text.
tk_status tok_pretokenize(const tk_tokenizer *t, const char *s, size_t len, bool first, id_buf *out,
                          tk_err *err);
tk_status tok_compile(const char *pattern, size_t len, const char *where, pcre2_code **out,
                      tk_err *err);
// bpe.c
void tok_bpe(const tk_tokenizer *t, const char *s, size_t len, id_buf *out);
void pair_map_init(pair_map *m, size_t n);
bool pair_map_add(pair_map *m, int32_t left, int32_t right, int32_t rank, int32_t id);
void pair_map_free(pair_map *m);
// added.c
void added_set_fill(tk_tokenizer *t);
void added_set_free(added_set *s);
// The first match in s at or after from: its token, [*begin, *end) as cut out; NULL = none. no_special: special
// ones stay in the text.
const added_token *added_find(const added_set *set, const char *s, size_t len, size_t from,
                              bool no_special, size_t *begin, size_t *end);
bool tok_is_space(uint32_t cp); // Unicode's White_Space
// decode.c: what the decoders remember from token to token
typedef struct decoding {
    bool begun;           // a token has been shown
    int strip[MAX_STEPS]; // how many characters each fused strip may still take away
} decoding;
void tok_decoding_begin(const tk_tokenizer *t, decoding *d);
// Appends a token's bytes. Decoders work token by token but for those after a Fuse.
void tok_decode_token(const tk_tokenizer *t, decoding *d, int32_t id, tk_buf *out);
bool tok_is_shown(const tk_tokenizer *t, int32_t id, bool skip_special);
// bytes.c: GPT-2's printable disguise of bytes
bool byte_level_undo(const char *s, size_t len,
                     tk_buf *out); // false: some character is no disguised byte
// tokenizer.c: shared by both loaders, after the vocabulary is filled
tk_tokenizer *tok_new(const char *where);
tk_status tok_set_size(tk_tokenizer *t, int64_t n_vocab, tk_err *err);
tk_status tok_finish(tk_tokenizer *t, tk_err *err);
void tok_set_special(tk_tokenizer *t, const char *name, const char *text);
tk_str tok_keep(tk_tokenizer *t, const char *s,
                size_t len); // a copy in the arena (s NULL when it is full)

#endif
