// SPDX-License-Identifier: MIT
// Added tokens: text that is cut out before anything else sees it. Leftmost, then longest.
#include "text/tokenizer_priv.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static int longest_first(const void *a, const void *b)
{
    const added_token *x = *(added_token *const *)a, *y = *(added_token *const *)b;
    if (x->text.len != y->text.len) return x->text.len > y->text.len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void put(added_set *s, added_token *a)
{
    if (a->text.len == 0) return;
    unsigned char c = (unsigned char)a->text.s[0];
    s->by_first[c] =
        tk_realloc(s->by_first[c], (size_t)(s->n_by_first[c] + 1) * sizeof *s->by_first[c]);
    s->by_first[c][s->n_by_first[c]++] = a;
    s->any = true;
}

void added_set_fill(tk_tokenizer *t)
{
    for (int i = 0; i < t->n_added; i++) {
        added_token *a = &t->added[i];
        put(a->normalized ? &t->normal : &t->raw, a);
    }
    added_set *const sets[] = {&t->raw, &t->normal};
    for (size_t k = 0; k < TK_COUNT(sets); k++)
        for (int c = 0; c < 256; c++)
            if (sets[k]->n_by_first[c] > 1)
                qsort(sets[k]->by_first[c], (size_t)sets[k]->n_by_first[c],
                      sizeof *sets[k]->by_first[c], longest_first);
}

void added_set_free(added_set *s)
{
    for (int c = 0; c < 256; c++) tk_free(s->by_first[c]);
}

bool tok_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 32 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

// \w of Unicode's regular expressions (UTS 18), which is Rust's.
static bool is_word(uint32_t cp)
{
    if (cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) ||
        (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) ||
        (cp >= 0x1F170 && cp <= 0x1F189))
        return true;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
    }
}

static uint32_t char_before(const char *s, size_t at, size_t *begin)
{
    uint32_t cp = 0;
    size_t b = at;
    do b--;
    while (b > 0 && ((unsigned char)s[b] & 0xC0) == 0x80);
    tk_utf8_read(s + b, at - b, &cp, NULL);
    *begin = b;
    return cp;
}

static bool stands_alone(const char *s, size_t len, size_t begin, size_t end)
{
    size_t at;
    uint32_t cp;
    if (begin > 0 && is_word(char_before(s, begin, &at))) return false;
    return !(end < len && tk_utf8_read(s + end, len - end, &cp, NULL) > 0 && is_word(cp));
}

// The added token that the text at s spells: the longest.
static const added_token *spelt_at(const added_set *set, const char *s, size_t len)
{
    unsigned char c = (unsigned char)*s;
    for (int i = 0; i < set->n_by_first[c]; i++) {
        const added_token *a = set->by_first[c][i];
        if (a->text.len <= len && memcmp(a->text.s, s, a->text.len) == 0) return a;
    }
    return NULL;
}

// A token that is found but not wanted hides what lies within it, as it does in Hugging Face's search.
const added_token *added_find(const added_set *set, const char *s, size_t len, size_t from,
                              bool no_special, size_t *begin, size_t *end)
{
    if (!set->any) return NULL;
    for (size_t at = from; at < len;) {
        const added_token *a = spelt_at(set, s + at, len - at);
        if (a == NULL) {
            at++;
            continue;
        }
        *begin = at;
        *end = at + a->text.len;
        at = *end;
        if (no_special && a->special) continue;
        if (a->single_word && !stands_alone(s, len, *begin, *end)) continue;
        size_t b, n;
        uint32_t cp;
        while (a->lstrip && *begin > from && tok_is_space(char_before(s, *begin, &b))) *begin = b;
        while (a->rstrip && *end < len && (n = tk_utf8_read(s + *end, len - *end, &cp, NULL)) > 0 &&
               tok_is_space(cp))
            *end += n;
        return a;
    }
    return NULL;
}
