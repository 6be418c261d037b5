// SPDX-License-Identifier: MIT
#include "engine/chat.h"

#include "base/limits.h"
#include "base/mem.h"
#include "engine/model_text.h"
#include "text/template.h"

#include <string.h>

struct tk_chat {
    const tk_tokenizer *t;
    tk_template *tpl;
};

tk_status tk_chat_open(const tk_ckpt *ckpt, const tk_tokenizer *t, tk_chat **out, tk_err *err)
{
    char *source = NULL;
    *out = NULL;
    tk_status st = tk_ckpt_chat_template(ckpt, false, &source, err);
    if (st != TK_OK || source == NULL) return st;
    tk_template *tpl = NULL;
    st = tk_template_parse(source, strlen(source), &tpl, err);
    tk_free(source);
    if (st != TK_OK) return tk_fail_in(err, st, "%s: chat template", tk_ckpt_path(ckpt));
    *out = tk_alloc(sizeof **out);
    **out = (tk_chat){.t = t, .tpl = tpl};
    return TK_OK;
}

void tk_chat_free(tk_chat *c)
{
    if (c == NULL) return;
    tk_template_free(c->tpl);
    tk_free(c);
}

void tk_chat_add_special(const tk_tokenizer *t, json_t *context)
{
    const char *name;
    for (size_t i = 0; (name = tk_tokenizer_special_name(t, i)) != NULL; i++)
        json_object_set_new(context, name, json_string(tk_tokenizer_special(t, name)));
}

tk_status tk_chat_prompt(const tk_chat *c, const json_t *messages, int32_t **ids, size_t *n,
                         tk_err *err)
{
    json_t *context = json_pack("{s:O, s:b, s:n, s:n}", "messages", messages,
                                "add_generation_prompt", 1, "tools", "documents");
    tk_buf text = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    tk_chat_add_special(c->t, context);
    tk_status st = tk_template_render(c->tpl, context, &text, err);
    // the template has written the begin token itself
    if (st == TK_OK)
        st = tk_tokenizer_encode(c->t, tk_buf_str(&text), text.len,
                                 (tk_encode_opts){.bos = TK_BOS_NO}, ids, n, err);
    tk_buf_free(&text);
    json_decref(context);
    return st;
}
