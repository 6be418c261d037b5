// SPDX-License-Identifier: MIT
// `held` begins where the text not yet decided on begins: at a marker that may be coming, or at the call
// being read. Every push looks at it again from there, so that there is no state inside JSON to keep.
//
//   TEXT --begin marker--> LEAD --'[' or '{' or a name--> CALL --object ends--> AFTER --> CALL or TEXT
//   START (forms without markers): '{' or '[' -> CALL, anything else -> PLAIN for good
#include "text/toolcall.h"

#include "base/buf.h"
#include "base/compiler.h"
#include "base/limits.h"
#include "base/mem.h"

#include <jansson.h>
#include <string.h>

#define BAR "\xEF\xBD\x9C" // fullwidth vertical line
#define LOW "\xE2\x96\x81" // lower one eighth block

typedef struct form {
    const char *begin; // before the first call; NULL = none
    const char *call;  // before each call; NULL = none
    const char *end;   // after each call; NULL = none
    const char *close; // after the last
} form;

static const form forms[] = {
    [TK_TOOLS_HERMES] = {.begin = "<tool_call>", .end = "</tool_call>"},
    [TK_TOOLS_MISTRAL] = {.begin = "[TOOL_CALLS]"},
    [TK_TOOLS_DEEPSEEK] = {.begin = "<" BAR "tool" LOW "calls" LOW "begin" BAR ">",
                           .call = "<" BAR "tool" LOW "call" LOW "begin" BAR ">",
                           .end = "<" BAR "tool" LOW "call" LOW "end" BAR ">",
                           .close = "<" BAR "tool" LOW "calls" LOW "end" BAR ">"},
    [TK_TOOLS_JSON] = {0},
};
static const char deepseek_sep[] = "<" BAR "tool" LOW "sep" BAR ">";
static const char python_tag[] = "<|python_tag|>";

typedef enum phase { START, TEXT, LEAD, CALL, AFTER, PLAIN } phase;

struct tk_tool_parser {
    tk_tool_format format;
    const char *const *names;
    int n_name;
    tk_tool_fn fn;
    void *ctx;
    phase phase;
    tk_buf held;
    size_t at;       // in held: where what the phase looks at begins
    bool in_list;    // the calls stand in a JSON list
    bool begun;      // BEGIN has been said
    bool after_call; // nothing but blanks has come since a call
    bool named; // deepseek, mistral: the name stood before the JSON, which is the arguments alone
    char *name; // then
    size_t args_at; // arguments said so far, bytes
};

bool tk_tool_format_by_name(const char *name, tk_tool_format *out)
{
    static const struct {
        const char *name;
        tk_tool_format format;
    } known[] = {{"none", TK_TOOLS_NONE},
                 {"hermes", TK_TOOLS_HERMES},
                 {"qwen", TK_TOOLS_HERMES},
                 {"llama3_json", TK_TOOLS_LLAMA3},
                 {"mistral", TK_TOOLS_MISTRAL},
                 {"deepseek_v3", TK_TOOLS_DEEPSEEK},
                 {"deepseek_v31", TK_TOOLS_DEEPSEEK},
                 {"json", TK_TOOLS_JSON}};
    for (size_t i = 0; i < TK_COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].format;
            return true;
        }
    return false;
}

tk_tool_format tk_tool_format_of_template(const char *s)
{
    if (strstr(s, forms[TK_TOOLS_DEEPSEEK].begin)) return TK_TOOLS_DEEPSEEK;
    if (strstr(s, "<tool_call>")) return TK_TOOLS_HERMES;
    if (strstr(s, "[TOOL_CALLS]")) return TK_TOOLS_MISTRAL;
    if (strstr(s, python_tag) || strstr(s, "Environment: ipython")) return TK_TOOLS_LLAMA3;
    return strstr(s, "tools") ? TK_TOOLS_JSON : TK_TOOLS_NONE;
}

bool tk_tool_format_needs_special(tk_tool_format f)
{
    return f == TK_TOOLS_MISTRAL || f == TK_TOOLS_DEEPSEEK || f == TK_TOOLS_LLAMA3;
}

tk_tool_parser *tk_tool_parser_new(tk_tool_format f, const char *const *names, int n, tk_tool_fn fn,
                                   void *ctx)
{
    tk_tool_parser *p = tk_alloc(sizeof *p);
    *p = (tk_tool_parser){.format = f,
                          .names = names,
                          .n_name = n,
                          .fn = fn,
                          .ctx = ctx,
                          .held = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
    p->phase = f == TK_TOOLS_NONE                           ? PLAIN
               : f == TK_TOOLS_JSON || f == TK_TOOLS_LLAMA3 ? START
                                                            : TEXT;
    return p;
}

void tk_tool_parser_free(tk_tool_parser *p)
{
    if (p == NULL) return;
    tk_buf_free(&p->held);
    tk_free(p->name);
    tk_free(p);
}

// --- JSON that may be cut off ---

enum { PARTIAL = -1, INVALID = -2, MAX_NAME_BYTES = 256 }; // else: bytes taken

static size_t skip_blank(const char *s, size_t len, size_t at)
{
    while (at < len && (s[at] == ' ' || s[at] == '\n' || s[at] == '\r' || s[at] == '\t')) at++;
    return at;
}

// Past the string that begins at s[at] == '"'.
static long scan_string(const char *s, size_t len, size_t at)
{
    for (at++; at < len; at++) {
        if (s[at] == '\\')
            at++;
        else if (s[at] == '"')
            return (long)at + 1;
    }
    return PARTIAL;
}

// Past the value that begins at s[at]. Brackets are counted, not matched in kind: what is inside is for the
// reader of the arguments to judge.
static long scan_value(const char *s, size_t len, size_t at)
{
    int depth = 0;
    if (at >= len) return PARTIAL;
    if (s[at] == '"') return scan_string(s, len, at);
    if (s[at] != '{' && s[at] != '[') { // a number or word
        size_t from = at;
        while (at < len && strchr(",}] \n\r\t", s[at]) == NULL) at++;
        return at == len ? PARTIAL : at == from ? INVALID : (long)at;
    }
    while (at < len) {
        if (s[at] == '"') {
            long n = scan_string(s, len, at);
            if (n < 0) return n;
            at = (size_t)n;
            continue;
        }
        if (s[at] == '{' || s[at] == '[') depth++;
        if ((s[at] == '}' || s[at] == ']') && --depth == 0) return (long)at + 1;
        at++;
    }
    return PARTIAL;
}

typedef struct call_scan {
    size_t name_at, name_len; // inside the quotes; len 0 = not known yet
    size_t args_at;           // 0 = not begun
    size_t args_end;          // as far as there is; complete when args_whole
    bool args_whole;
    long end;      // past the object, or PARTIAL, INVALID
    size_t bad_at; // INVALID: where; the same however much of the text is there
} call_scan;

static bool key_is(const char *s, size_t at, size_t end, const char *word)
{
    return end - at - 2 == strlen(word) && memcmp(s + at + 1, word, end - at - 2) == 0;
}

static long invalid(call_scan *c, size_t at)
{
    c->bad_at = at;
    return INVALID;
}

// One "key": value of the object; returns past it, or PARTIAL, INVALID.
static long scan_member(const char *s, size_t len, size_t at, call_scan *c)
{
    if (s[at] != '"') return invalid(c, at);
    long key_end = scan_string(s, len, at);
    if (key_end < 0) return key_end;
    bool is_name = key_is(s, at, (size_t)key_end, "name");
    bool is_args =
        key_is(s, at, (size_t)key_end, "arguments") || key_is(s, at, (size_t)key_end, "parameters");
    if (!is_name && !is_args && !key_is(s, at, (size_t)key_end, "type") &&
        !key_is(s, at, (size_t)key_end, "id"))
        return invalid(c, at);
    if ((is_name && c->name_len) || (is_args && c->args_at)) return invalid(c, at); // twice
    size_t v = skip_blank(s, len, (size_t)key_end);
    if (v == len) return PARTIAL;
    if (s[v] != ':') return invalid(c, v);
    v = skip_blank(s, len, v + 1);
    long end = scan_value(s, len, v);
    if (end == INVALID) return invalid(c, v);
    if (is_name && end >= 0) {
        if (s[v] != '"' || end - (long)v < 3) return invalid(c, v);
        c->name_at = v + 1;
        c->name_len = (size_t)end - v - 2;
    }
    if (is_args && v < len) {
        c->args_at = v;
        c->args_whole = end >= 0;
        c->args_end = end >= 0 ? (size_t)end : len;
    }
    return end;
}

// {"name": .., "arguments": ..} at s[at].
static call_scan scan_call(const char *s, size_t len, size_t at)
{
    call_scan c = {.end = PARTIAL};
    if (at >= len) return c;
    if (s[at] != '{') {
        c.end = invalid(&c, at);
        return c;
    }
    for (at++;; at++) { // past '{' or ','
        at = skip_blank(s, len, at);
        if (at == len) return c;
        long n = scan_member(s, len, at, &c);
        if (n < 0) {
            c.end = n;
            return c;
        }
        at = skip_blank(s, len, (size_t)n);
        if (at == len) return c;
        if (s[at] == ',') continue;
        c.end = s[at] == '}' && c.name_len ? (long)at + 1 : invalid(&c, at);
        return c;
    }
}

// --- the parser ---

static void drop(tk_tool_parser *p, size_t n)
{
    if (n == 0) return;
    memmove(p->held.data, p->held.data + n, p->held.len - n + 1);
    p->held.len -= n;
    p->at = 0;
}

static void say(tk_tool_parser *p, tk_tool_event e, const char *s, size_t n)
{
    if (n > 0 || e == TK_TOOL_END) p->fn(p->ctx, e, s, n);
}

static void content(tk_tool_parser *p, size_t n)
{
    const char *s = tk_buf_str(&p->held);
    if (skip_blank(s, n, 0) < n) p->after_call = false;
    say(p, TK_TOOL_CONTENT, s, n);
    drop(p, n);
}

// What looked like a call is none: it is content, up to the next marker (marker forms) or for good.
static bool give_up(tk_tool_parser *p)
{
    bool marked = forms[p->format].begin != NULL;
    content(p, marked && p->held.len ? p->at : p->held.len);
    p->phase = marked ? TEXT : PLAIN;
    return marked;
}

static bool known_name(const tk_tool_parser *p, const char *s, size_t n)
{
    for (int i = 0; i < p->n_name; i++)
        if (strlen(p->names[i]) == n && memcmp(p->names[i], s, n) == 0) return true;
    return false;
}

static void begin_call(tk_tool_parser *p, const char *name, size_t n)
{
    p->begun = true;
    p->args_at = 0;
    say(p, TK_TOOL_BEGIN, name, n);
}

static void end_call(tk_tool_parser *p, size_t upto)
{
    say(p, TK_TOOL_END, "", 0);
    p->begun = false;
    p->after_call = true;
    drop(p, upto);
    p->phase = AFTER;
}

// Arguments held[from..end): what has not been said of them. A JSON string with JSON inside is opened when
// it is whole.
static void say_args(tk_tool_parser *p, size_t from, size_t end, bool whole)
{
    const char *s = p->held.data;
    if (s[from] != '"') {
        say(p, TK_TOOL_ARGS, s + from + p->args_at, end - from - p->args_at);
        p->args_at = end - from;
        return;
    }
    if (!whole || p->args_at) return;
    json_t *inner = json_loadb(s + from, end - from, JSON_DECODE_ANY, NULL);
    if (json_is_string(inner))
        say(p, TK_TOOL_ARGS, json_string_value(inner), json_string_length(inner));
    json_decref(inner);
    p->args_at = end - from;
}

// The JSON is the arguments alone; the name is p->name.
static bool read_named_args(tk_tool_parser *p)
{
    const char *s = tk_buf_str(&p->held);
    if (p->at == p->held.len) return false;
    if (s[p->at] != '{') return give_up(p);
    if (!p->begun) begin_call(p, p->name, strlen(p->name));
    long end = scan_value(s, p->held.len, p->at);
    say_args(p, p->at, end >= 0 ? (size_t)end : p->held.len, end >= 0);
    if (end < 0) return false;
    end_call(p, (size_t)end);
    return true;
}

static bool read_call(tk_tool_parser *p)
{
    if (p->named) return read_named_args(p);
    const char *s = tk_buf_str(&p->held);
    p->at = skip_blank(s, p->held.len, p->at);
    call_scan c = scan_call(s, p->held.len, p->at);
    bool picky = forms[p->format].begin == NULL;
    if (!p->begun) {
        // once the name is known it is a call, whatever comes after: more text must not undo that
        bool wrong = (c.end == INVALID && c.name_len == 0) ||
                     (c.name_len && picky && !known_name(p, s + c.name_at, c.name_len));
        if (wrong) return give_up(p);
        if (c.name_len == 0) return false;
        begin_call(p, s + c.name_at, c.name_len);
    }
    if (c.args_at) say_args(p, c.args_at, c.args_end, c.args_whole);
    if (c.end == PARTIAL) return false;
    if (p->args_at == 0) say(p, TK_TOOL_ARGS, "{}", 2); // a call without arguments
    end_call(p, c.end >= 0 ? (size_t)c.end : c.bad_at);
    return true;
}

// A name that stands before its JSON: deepseek KIND sep NAME, mistral NAME[ARGS].
static bool read_name(tk_tool_parser *p, const char *stop, size_t skip_stop, bool newline)
{
    const char *s = tk_buf_str(&p->held) + p->at;
    size_t left = p->held.len - p->at;
    const char *hit = memmem(s, left, stop, strlen(stop));
    if (hit == NULL) return false;
    size_t n = (size_t)(hit - s), from = 0, to = n, next = n + skip_stop;
    if (newline && n == 8 && memcmp(s, "function", 8) == 0) { // V3: the name follows, then a fence
        static const char fence[] = "```json";
        const char *eol = memchr(s + next, '\n', left - next);
        if (eol == NULL) return false;
        from = next;
        to = (size_t)(eol - s);
        next = skip_blank(s, left, to);
        size_t have = TK_MIN(left - next, sizeof fence - 1);
        if (memcmp(s + next, fence, have) == 0) {
            if (have < sizeof fence - 1) return false;
            next += have;
        }
    }
    next = skip_blank(s, left, next);
    if (next == left) return false;
    while (to > from && skip_blank(s, to, from) > from) from++;
    while (to > from && (s[to - 1] == ' ' || s[to - 1] == '\n')) to--;
    tk_free(p->name);
    p->name = tk_strndup(s + from, to - from);
    p->named = true;
    p->at += next;
    p->phase = CALL;
    return true;
}

// The marker held[at..] must be, is partly, or is not there.
static int at_mark(const tk_tool_parser *p, size_t at, const char *mark)
{
    size_t n = strlen(mark), have = TK_MIN(n, p->held.len - at);
    if (memcmp(tk_buf_str(&p->held) + at, mark, have) != 0) return 0;
    return have == n ? 1 : -1;
}

// NAME[ARGS]{ or NAME{: the first bracket says which.
static bool read_mistral_name(tk_tool_parser *p)
{
    const char *s = tk_buf_str(&p->held);
    size_t at = p->at;
    while (at < p->held.len && s[at] != '[' && s[at] != '{' && at - p->at < MAX_NAME_BYTES) at++;
    if (at == p->held.len) return false;
    if (s[at] == '{') return read_name(p, "{", 0, false);
    int m = at_mark(p, at, "[ARGS]");
    if (m < 0) return false;
    return m ? read_name(p, "[ARGS]", 6, false) : give_up(p);
}

// After the begin marker.
static bool lead(tk_tool_parser *p)
{
    const char *s = tk_buf_str(&p->held);
    size_t len = p->held.len, at = skip_blank(s, len, p->at);
    if (at == len) return false;
    p->named = false;
    p->at = at;
    if (p->format == TK_TOOLS_DEEPSEEK) {
        const char *mark = forms[TK_TOOLS_DEEPSEEK].call;
        size_t n = strlen(mark), have = TK_MIN(n, len - at);
        if (memcmp(s + at, mark, have) != 0) return give_up(p);
        if (have < n) return false;
        p->at += n;
        if (read_name(p, deepseek_sep, sizeof deepseek_sep - 1, true)) return true;
        p->at = at; // look again from the marker
        return false;
    }
    if (p->format == TK_TOOLS_MISTRAL && s[at] != '[' && s[at] != '{') return read_mistral_name(p);
    p->in_list = s[at] == '[' && p->format == TK_TOOLS_MISTRAL;
    p->at += p->in_list;
    p->phase = CALL;
    return true;
}

// Bytes at the end of held that begin the marker.
static size_t open_tail(const tk_tool_parser *p, const char *mark)
{
    size_t n = strlen(mark);
    for (size_t k = TK_MIN(n - 1, p->held.len); k > 0; k--)
        if (memcmp(p->held.data + p->held.len - k, mark, k) == 0) return k;
    return 0;
}

static bool look_for_marker(tk_tool_parser *p)
{
    const char *mark = forms[p->format].begin;
    const char *s = tk_buf_str(&p->held), *hit = memmem(s, p->held.len, mark, strlen(mark));
    size_t upto = hit ? (size_t)(hit - s) : p->held.len - open_tail(p, mark);
    // blanks between calls are nobody's
    if (p->after_call && skip_blank(s, upto, 0) == upto) {
        if (hit == NULL) return false;
        drop(p, upto);
    } else {
        content(p, upto);
    }
    if (hit == NULL) return false;
    p->at = strlen(mark);
    p->phase = LEAD;
    return true;
}

// Forms without markers: the first character decides.
static bool start(tk_tool_parser *p)
{
    const char *s = tk_buf_str(&p->held);
    size_t len = p->held.len, at = skip_blank(s, len, 0);
    if (p->format == TK_TOOLS_LLAMA3) {
        size_t n = sizeof python_tag - 1, have = TK_MIN(n, len - at);
        if (have && memcmp(s + at, python_tag, have) == 0) {
            if (have < n) return false;
            at = skip_blank(s, len, at + n);
        }
    }
    if (at == len) return false;
    p->in_list = s[at] == '[' && p->format == TK_TOOLS_JSON;
    if (s[at] != '{' && !p->in_list) return give_up(p);
    p->at = at + p->in_list;
    p->phase = CALL;
    return true;
}

// DeepSeek: the fence and end mark of a call are skipped; then another call, or the closing mark.
static bool after_deepseek(tk_tool_parser *p, size_t at)
{
    const form *f = &forms[p->format];
    const char *const skip[] = {"```", f->end, f->close};
    for (size_t i = 0; i < TK_COUNT(skip); i++) {
        int m = at_mark(p, at, skip[i]);
        if (m < 0) return false;
        if (m == 0) continue;
        drop(p, at + strlen(skip[i]));
        if (i == 2) p->phase = TEXT;
        return true;
    }
    int m = at_mark(p, at, f->call);
    if (m < 0) return false;
    p->at = at;
    p->phase = m ? LEAD : TEXT;
    return true;
}

static bool after(tk_tool_parser *p)
{
    const char *s = tk_buf_str(&p->held), *end = forms[p->format].end;
    size_t len = p->held.len, at = skip_blank(s, len, 0);
    if (at == len) return false;
    if (p->format == TK_TOOLS_DEEPSEEK) return after_deepseek(p, at);
    if (end) {
        int m = at_mark(p, at, end);
        if (m < 0) return false;
        if (m) drop(p, at + strlen(end));
        p->phase = TEXT;
        return true;
    }
    char separator = p->in_list ? ',' : ';';
    if (s[at] == separator) {
        drop(p, at + 1);
        p->phase = CALL;
        return true;
    }
    if (p->in_list && s[at] == ']') {
        drop(p, at + 1);
        p->in_list = false;
        return true;
    }
    p->phase = forms[p->format].begin ? TEXT : PLAIN;
    return true;
}

static bool step(tk_tool_parser *p)
{
    switch (p->phase) {
    case START: return start(p);
    case TEXT: return look_for_marker(p);
    case LEAD: return lead(p);
    case CALL: return read_call(p);
    case AFTER: return after(p);
    case PLAIN: content(p, p->held.len); return false;
    }
    return false;
}

void tk_tool_parser_push(tk_tool_parser *p, const char *text, size_t len)
{
    tk_buf_add(&p->held, text, len);
    while (p->held.len > 0 && step(p)) {
    }
}

void tk_tool_parser_flush(tk_tool_parser *p)
{
    bool blank = skip_blank(tk_buf_str(&p->held), p->held.len, 0) == p->held.len;
    if (p->begun) // cut off in the middle of its arguments
        end_call(p, p->held.len);
    else if (!(p->after_call && blank))
        content(p, p->held.len);
    tk_buf_clear(&p->held);
}
