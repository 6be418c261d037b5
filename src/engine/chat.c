// SPDX-License-Identifier: MIT
#include "engine/chat.h"

#include "base/limits.h"
#include "base/mem.h"
#include "engine/model_text.h"
#include "text/template.h"

#include <string.h>

struct tk_chat {
    const tk_tokenizer *t;
    char *source[2]; // plain, with tools; [1] NULL = the same
    tk_template *tpl[2];
};

static tk_status parse(tk_chat *c, int i, tk_err *err)
{
    return tk_template_parse(c->source[i], strlen(c->source[i]), &c->tpl[i], err);
}

tk_status tk_chat_open(const tk_ckpt *ckpt, const tk_tokenizer *t, tk_chat **out, tk_err *err)
{
    tk_chat *c = tk_alloc(sizeof *c);
    tk_status st;
    c->t = t;
    *out = NULL;
    TK_TRY(tk_ckpt_chat_template(ckpt, false, &c->source[0], err));
    if (c->source[0] == NULL) goto done;
    TK_TRY(tk_ckpt_chat_template(ckpt, true, &c->source[1], err));
    if (c->source[1] && strcmp(c->source[0], c->source[1]) == 0) {
        tk_free(c->source[1]);
        c->source[1] = NULL;
    }
    for (int i = 0; i < 2 && c->source[i]; i++) {
        st = parse(c, i, err);
        if (st != TK_OK) {
            tk_fail_in(err, st, "%s: chat template", tk_ckpt_path(ckpt));
            goto done;
        }
    }
    *out = c;
    c = NULL;
done:
    tk_chat_free(c);
    return st;
}

void tk_chat_free(tk_chat *c)
{
    if (c == NULL) return;
    for (int i = 0; i < 2; i++) {
        tk_template_free(c->tpl[i]);
        tk_free(c->source[i]);
    }
    tk_free(c);
}

const char *tk_chat_source(const tk_chat *c, bool with_tools)
{
    return c->source[with_tools && c->source[1] ? 1 : 0];
}

void tk_chat_add_special(const tk_tokenizer *t, json_t *context)
{
    const char *name;
    for (size_t i = 0; (name = tk_tokenizer_special_name(t, i)) != NULL; i++)
        json_object_set_new(context, name, json_string(tk_tokenizer_special(t, name)));
}

tk_status tk_chat_render(const tk_chat *c, const tk_chat_request *r, tk_buf *out, tk_err *err)
{
    json_t *context = json_object();
    if (r->kwargs) json_object_update(context, (json_t *)(uintptr_t)r->kwargs);
    tk_chat_add_special(c->t, context);
    json_object_set(context, "messages", (json_t *)(uintptr_t)r->messages);
    json_object_set_new(context, "documents", json_null());
    if (r->tools)
        json_object_set(context, "tools", (json_t *)(uintptr_t)r->tools);
    else
        json_object_set_new(context, "tools", json_null());
    json_object_set_new(context, "add_generation_prompt", json_boolean(r->add_generation_prompt));
    tk_status st = tk_template_render(c->tpl[r->tools && c->tpl[1] ? 1 : 0], context, out, err);
    json_decref(context);
    return st;
}

tk_status tk_chat_prompt(const tk_chat *c, const json_t *messages, int32_t **ids, size_t *n,
                         tk_err *err)
{
    tk_buf text = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    tk_chat_request r = {.messages = messages, .add_generation_prompt = true};
    tk_status st = tk_chat_render(c, &r, &text, err);
    // the template has written the begin token itself
    if (st == TK_OK)
        st = tk_tokenizer_encode(c->t, tk_buf_str(&text), text.len,
                                 (tk_encode_opts){.bos = TK_BOS_NO}, ids, n, err);
    tk_buf_free(&text);
    return st;
}
