// SPDX-License-Identifier: MIT
// The lexer: jinja2's regular expressions (lexer.py) written out, with trim_blocks and lstrip_blocks on.
#include "base/mem.h"
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <string.h>

typedef struct lexer {
    const char *s;
    size_t len, pos;
    uint32_t line;
    jj_toks *out;
    tk_err *err;
    bool line_starting; // what was matched last ended with a newline
    char stack[256];    // open brackets
    int n_stack;
} lexer;

static const char *const names[] = {
    [T_EOF] = "end of template",
    [T_DATA] = "template data",
    [T_BLOCK_BEGIN] = "begin of statement block",
    [T_BLOCK_END] = "end of statement block",
    [T_VAR_BEGIN] = "begin of print statement",
    [T_VAR_END] = "end of print statement",
    [T_NAME] = "name",
    [T_STRING] = "string",
    [T_INTEGER] = "integer",
    [T_FLOAT] = "float",
    [T_ADD] = "+",
    [T_SUB] = "-",
    [T_MUL] = "*",
    [T_DIV] = "/",
    [T_FLOORDIV] = "//",
    [T_MOD] = "%",
    [T_POW] = "**",
    [T_TILDE] = "~",
    [T_LBRACKET] = "[",
    [T_RBRACKET] = "]",
    [T_LPAREN] = "(",
    [T_RPAREN] = ")",
    [T_LBRACE] = "{",
    [T_RBRACE] = "}",
    [T_EQ] = "==",
    [T_NE] = "!=",
    [T_GT] = ">",
    [T_GE] = ">=",
    [T_LT] = "<",
    [T_LE] = "<=",
    [T_ASSIGN] = "=",
    [T_DOT] = ".",
    [T_COLON] = ":",
    [T_PIPE] = "|",
    [T_COMMA] = ",",
    [T_SEMICOLON] = ";",
};

const char *jj_tok_describe(uint8_t kind)
{
    return names[kind];
}

static void push(lexer *x, uint8_t kind, const char *p, size_t len)
{
    if (x->out->n == x->out->cap) {
        x->out->cap = x->out->cap ? x->out->cap * 2 : 256;
        x->out->v = tk_realloc(x->out->v, x->out->cap * sizeof *x->out->v);
    }
    x->out->v[x->out->n++] = (jj_tok){.kind = kind, .line = x->line, .p = p, .len = len};
}

// Moves past n bytes of the source, counting lines.
static void advance(lexer *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x->line += x->s[x->pos + i] == '\n';
    if (n) x->line_starting = x->s[x->pos + n - 1] == '\n';
    x->pos += n;
}

static size_t spaces_at(const lexer *x, size_t pos)
{
    size_t end = pos;
    while (end < x->len) {
        size_t next = end;
        if (!jj_cp_space(jj_cp_next(x->s, x->len, &next))) break;
        end = next;
    }
    return end - pos;
}

static bool at(const lexer *x, size_t pos, const char *z)
{
    size_t n = strlen(z);
    return x->len - pos >= n && memcmp(x->s + pos, z, n) == 0;
}

// Length of a closing tag at pos ("}}", "%}", "#}"), with what whitespace control takes after it; 0: none.
static size_t close_at(const lexer *x, size_t pos, const char *tag, bool is_var)
{
    if (x->s[pos] == '-' && at(x, pos + 1, tag)) return 3 + spaces_at(x, pos + 3);
    if (!is_var && x->s[pos] == '+' && at(x, pos + 1, tag)) return 3;
    if (!at(x, pos, tag)) return 0;
    return !is_var && pos + 2 < x->len && x->s[pos + 2] == '\n' ? 3 : 2;
}

// Text before a tag, after that tag's whitespace control.
static void push_data(lexer *x, const char *p, size_t len, char sign, bool is_var)
{
    size_t keep = len;
    if (sign == '-') {
        const char *q = p;
        jj_strip(&q, &keep, false, true);
    } else if (sign != '+' && !is_var) {
        size_t from = len;
        while (from > 0 && p[from - 1] != '\n') from--;
        const char *q = p + from;
        size_t rest = len - from;
        jj_strip(&q, &rest, false, true);
        if (rest == 0 && (from > 0 || x->line_starting)) keep = from;
    }
    if (keep) push(x, T_DATA, p, keep);
}

static tk_status lex_raw(lexer *x)
{
    size_t from = x->pos;
    if (from == x->len) return TK_OK; // jinja2 only misses the end when something follows
    for (size_t i = from; i + 1 < x->len; i++) {
        if (!at(x, i, "{%")) continue;
        size_t j = i + 2;
        char sign = j < x->len && (x->s[j] == '-' || x->s[j] == '+') ? x->s[j++] : 0;
        j += spaces_at(x, j);
        if (!at(x, j, "endraw")) continue;
        j += 6;
        j += spaces_at(x, j);
        size_t n = j < x->len ? close_at(x, j, "%}", false) : 0;
        if (n == 0) continue;
        push_data(x, x->s + from, i - from, sign, false);
        advance(x, j + n - from);
        return TK_OK;
    }
    return tk_fail(x->err, TK_BAD_INPUT, "line %u: missing end of raw directive", x->line);
}

// "{% raw %}" at pos: its length, else 0.
static size_t raw_begin(const lexer *x, size_t pos)
{
    size_t j = pos + 2;
    if (j < x->len && (x->s[j] == '-' || x->s[j] == '+')) j++;
    j += spaces_at(x, j);
    if (!at(x, j, "raw")) return 0;
    j += 3;
    j += spaces_at(x, j);
    if (at(x, j, "%}")) return j + 2 - pos;
    if (at(x, j, "-%}")) return j + 3 + spaces_at(x, j + 3) - pos;
    return 0;
}

static tk_status lex_comment(lexer *x)
{
    if (x->pos == x->len) return TK_OK; // as in lex_raw
    for (size_t i = x->pos; i < x->len; i++) {
        if (x->s[i] != '#' && x->s[i] != '-' && x->s[i] != '+') continue;
        size_t n = close_at(x, i, "#}", false);
        if (n == 0) continue;
        advance(x, i + n - x->pos);
        return TK_OK;
    }
    return tk_fail(x->err, TK_BAD_INPUT, "line %u: missing end of comment tag", x->line);
}

static size_t digits(const lexer *x, size_t pos, const char *set, bool lead_underscore)
{
    size_t i = pos;
    for (;;) {
        size_t j = i;
        if (j < x->len && x->s[j] == '_' && (i > pos || lead_underscore)) j++;
        if (j >= x->len || x->s[j] == 0 || !strchr(set, x->s[j])) return i - pos;
        i = j + 1;
    }
}

#define DEC "0123456789"

static size_t float_at(const lexer *x, size_t pos)
{
    if (pos > 0 && x->s[pos - 1] == '.') return 0;
    size_t i = pos + digits(x, pos, DEC, false);
    if (i == pos) return 0;
    bool is_float = false;
    if (i < x->len && x->s[i] == '.') {
        size_t n = digits(x, i + 1, DEC, false);
        if (n) {
            i += 1 + n;
            is_float = true;
        }
    }
    if (i < x->len && (x->s[i] == 'e' || x->s[i] == 'E')) {
        size_t j = i + 1;
        if (j < x->len && (x->s[j] == '+' || x->s[j] == '-')) j++;
        size_t n = digits(x, j, DEC, false);
        if (n) return j + n - pos;
    }
    return is_float ? i - pos : 0;
}

static size_t integer_at(const lexer *x, size_t pos)
{
    char c = x->s[pos], d = pos + 1 < x->len ? (char)(x->s[pos + 1] | 0x20) : 0;
    if (c == '0' && (d == 'b' || d == 'o' || d == 'x')) {
        const char *set = d == 'b' ? "01" : d == 'o' ? "01234567" : DEC "abcdefABCDEF";
        size_t n = digits(x, pos + 2, set, true);
        if (n) return 2 + n;
    }
    if (c >= '1' && c <= '9') return digits(x, pos, DEC, false);
    return c == '0' ? digits(x, pos, "0", false) : 0;
}

static size_t name_at(const lexer *x, size_t pos)
{
    size_t i = pos;
    while (i < x->len) {
        size_t next = i;
        uint32_t c = jj_cp_next(x->s, x->len, &next);
        if (i == pos ? !jj_cp_ident_start(c) : !jj_cp_ident(c)) break;
        i = next;
    }
    return i - pos;
}

static size_t string_at(const lexer *x, size_t pos)
{
    char q = x->s[pos];
    if (q != '"' && q != '\'') return 0;
    for (size_t i = pos + 1; i < x->len; i++) {
        if (x->s[i] == '\\')
            i++;
        else if (x->s[i] == q)
            return i + 1 - pos;
    }
    return 0;
}

static uint8_t operator_at(const lexer *x, size_t *n)
{
    static const uint8_t order[] = {T_FLOORDIV, T_POW,      T_EQ,     T_NE,     T_GE,     T_LE,
                                    T_ADD,      T_SUB,      T_MUL,    T_DIV,    T_MOD,    T_TILDE,
                                    T_LBRACKET, T_RBRACKET, T_LPAREN, T_RPAREN, T_LBRACE, T_RBRACE,
                                    T_GT,       T_LT,       T_ASSIGN, T_DOT,    T_COLON,  T_PIPE,
                                    T_COMMA,    T_SEMICOLON};
    for (size_t i = 0; i < TK_COUNT(order); i++)
        if (at(x, x->pos, names[order[i]])) {
            *n = strlen(names[order[i]]);
            return order[i];
        }
    return T_EOF;
}

static tk_status balance(lexer *x, uint8_t kind)
{
    static const char open[] = "([{", close[] = ")]}";
    char c = names[kind][0];
    if (kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE) {
        if (x->n_stack == (int)sizeof x->stack)
            return tk_fail(x->err, TK_BAD_INPUT, "line %u: more than %zu brackets are open",
                           x->line, sizeof x->stack);
        x->stack[x->n_stack++] = close[strchr(open, c) - open];
    } else if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE) {
        if (x->n_stack == 0)
            return tk_fail(x->err, TK_BAD_INPUT, "line %u: unexpected '%c'", x->line, c);
        char want = x->stack[--x->n_stack];
        if (want != c)
            return tk_fail(x->err, TK_BAD_INPUT, "line %u: unexpected '%c', expected '%c'", x->line,
                           c, want);
    }
    return TK_OK;
}

// One token inside {% %} or {{ }}.
static tk_status lex_one(lexer *x)
{
    size_t n;
    uint8_t kind;
    if ((n = float_at(x, x->pos)) > 0)
        kind = T_FLOAT;
    else if ((n = integer_at(x, x->pos)) > 0)
        kind = T_INTEGER;
    else if ((n = name_at(x, x->pos)) > 0)
        kind = T_NAME;
    else if ((n = string_at(x, x->pos)) > 0)
        kind = T_STRING;
    else if ((kind = operator_at(x, &n)) != T_EOF) {
        tk_status st = balance(x, kind);
        if (st != TK_OK) return st;
    } else {
        size_t next = x->pos;
        jj_cp_next(x->s, x->len, &next);
        return tk_fail(x->err, TK_BAD_INPUT, "line %u: unexpected character '%.*s'", x->line,
                       (int)(next - x->pos), x->s + x->pos);
    }
    push(x, kind, x->s + x->pos, n);
    advance(x, n);
    return TK_OK;
}

static tk_status lex_tag(lexer *x, bool is_var)
{
    const char *tag = is_var ? "}}" : "%}";
    x->n_stack = 0;
    while (x->pos < x->len) {
        size_t n = x->n_stack == 0 ? close_at(x, x->pos, tag, is_var) : 0;
        if (n) {
            push(x, is_var ? T_VAR_END : T_BLOCK_END, x->s + x->pos, n);
            advance(x, n);
            return TK_OK;
        }
        n = spaces_at(x, x->pos);
        if (n) {
            advance(x, n);
            continue;
        }
        tk_status st = lex_one(x);
        if (st != TK_OK) return st;
    }
    return TK_OK; // the parser says what is missing
}

// The next "{%", "{{" or "{#" from pos.
static size_t find_tag(const lexer *x)
{
    for (size_t i = x->pos; i + 1 < x->len; i++)
        if (x->s[i] == '{' && (x->s[i + 1] == '%' || x->s[i + 1] == '{' || x->s[i + 1] == '#'))
            return i;
    return x->len;
}

static tk_status lex_root(lexer *x)
{
    size_t i = find_tag(x);
    if (i == x->len) {
        push(x, T_DATA, x->s + x->pos, x->len - x->pos);
        advance(x, x->len - x->pos);
        return TK_OK;
    }
    char c = x->s[i + 1], sign = 0;
    if (i + 2 < x->len && (x->s[i + 2] == '-' || x->s[i + 2] == '+')) sign = x->s[i + 2];
    push_data(x, x->s + x->pos, i - x->pos, sign, c == '{');
    size_t n_raw = c == '%' ? raw_begin(x, i) : 0;
    advance(x, i - x->pos);
    if (n_raw) {
        advance(x, n_raw);
        return lex_raw(x);
    }
    if (c != '#') push(x, c == '{' ? T_VAR_BEGIN : T_BLOCK_BEGIN, x->s + i, 2);
    advance(x, sign ? 3 : 2);
    return c == '#' ? lex_comment(x) : lex_tag(x, c == '{');
}

tk_status jj_lex(const char *source, size_t len, jj_toks *out, tk_err *err)
{
    lexer x = {.s = source, .len = len, .line = 1, .out = out, .err = err, .line_starting = true};
    *out = (jj_toks){0};
    while (x.pos < x.len) {
        tk_status st = lex_root(&x);
        if (st != TK_OK) return st;
    }
    push(&x, T_EOF, x.s + x.len, 0);
    return TK_OK;
}
