// SPDX-License-Identifier: MIT
// A request on its way through the server's threads, and the answers generated for it.
//
//   loop: made, queued --> text thread: read (c->route->read) --> loop: submitted, answered, freed
//                                                        engine: tokens and ends as events --^
//
// Who may touch what: until the PREPARED event the call is the text thread's, afterwards the loop's. Of a
// choice, the fields marked so are the engine thread's while its job runs (from submit to the DONE event).
// `gone` alone is shared.
#ifndef TK_SERVER_CALL_H
#define TK_SERVER_CALL_H

#include "base/buf.h"
#include "engine/service.h"
#include "server/api.h"
#include "server/budget.h"
#include "server/conn.h"
#include "server/mail.h"
#include "text/grammar.h"
#include "text/reasoning.h"
#include "text/stop.h"
#include "text/toolcall.h"

#include <stdatomic.h>

typedef struct tk_call tk_call;
typedef struct tk_choice tk_choice;
typedef struct tk_route tk_route;

typedef enum tk_delta {
    TK_DELTA_TEXT,
    TK_DELTA_THOUGHT,
    TK_DELTA_CALL,
    TK_DELTA_ARGS,
    TK_DELTA_END
} tk_delta;

// How an API writes the answers of a generation. All on the loop's thread.
typedef struct tk_format {
    // streams: the beginning; a piece of a choice (CALL: the name of a call that begins); a choice's end; the
    // end. Any may be NULL.
    void (*begin)(tk_call *c);
    void (*delta)(tk_call *c, tk_choice *k, tk_delta what, const char *s, size_t len);
    void (*choice_end)(tk_call *c, tk_choice *k);
    void (*end)(tk_call *c);
    // otherwise: everything. New reference.
    json_t *(*whole)(tk_call *c);
} tk_format;

typedef struct tk_tool_use { // a call of a tool in an answer
    char id[48];
    char *name;
    tk_buf args;
} tk_tool_use;

typedef struct tk_prompt {
    int32_t *ids; // owned
    int32_t n;
    char *text; // owned; for echo, NULL = not kept
    size_t text_len;
} tk_prompt;

typedef struct tk_logprob { // of one token
    int32_t id;
    double logprob; // NAN = none (a prompt's first token)
    int n_top;
    tk_token top[TK_LIMIT_TOP_LOGPROBS];
} tk_logprob;

struct tk_choice {
    tk_call *call;
    int index, i_prompt;
    // the engine's while the job runs
    tk_detok *detok;
    tk_stop *stop;
    bool hit_stop, overflow;
    tk_grammar_run *grammar; // NULL = none
    tk_budget *budget;       // NULL = none
    // the loop's
    tk_job_id job;
    bool running;
    bool deaf; // what comes is left out
    tk_reasoning reasoning;
    tk_tool_parser *tools;
    tk_buf text, thought; // all of the answer so far
    tk_tool_use *use;     // [n_use]
    int n_use, cap_use;
    tk_logprob *lp; // [n_lp] those not handed out yet (stream), or all
    size_t n_lp, cap_lp;
    size_t lp_offset;         // completions: text offset of the next one
    int32_t n_out, n_thought; // tokens
    uint64_t last_ns;         // when the last token came
    tk_job_result result;
    const char *finish; // "stop", "length", "tool_calls"; NULL while running
    int state;          // of the format's own
    int n_item;         // likewise
};

typedef struct tk_gen { // what is generated
    const tk_format *format;
    tk_prompt *prompt; // [n_prompt]
    int n_prompt;
    int n;             // answers of each prompt
    tk_choice *choice; // [n_prompt * n]
    int n_choice, n_running, n_ended;
    tk_job_opts job; // all but prompt, seed, grammar, callbacks; its lists are owned here
    tk_logit_bias *bias;
    int32_t *stop_ids;
    const char **stop; // [n_stop] borrowed from the request
    int n_stop;
    bool stream, include_usage, usage_each; // usage_each: with every event, not with the last alone
    bool logprobs;
    int n_top;
    bool echo;
    bool goes_on;      // the answer continues the prompt's text
    bool show_special; // control tokens are part of the text
    const tk_reasoning_marks *marks;
    bool reasoning_open;
    tk_tool_format tools;
    const char **tool_names; // [n_tool] borrowed from the request
    int n_tool;
    bool one_call; // calls after the first are left out
    tk_grammar *grammar;
    int64_t thought_budget; // tokens of reasoning, then it is ended; 0 or less = no bound
    uint64_t seed;
    // of the formats
    json_t *extra;
    int n_event;
} tk_gen;

typedef enum tk_event_kind {
    TK_EVENT_PREPARED,
    TK_EVENT_TOKEN,
    TK_EVENT_PROMPT,
    TK_EVENT_DONE
} tk_event_kind;

typedef struct tk_event {
    tk_mail_item item;
    tk_event_kind kind;
    tk_call *call;
    tk_choice *choice;
    uint64_t at_ns;
    tk_logprob lp; // id -1 = text only
    tk_job_result result;
    size_t len;
    char text[]; // token: its text; done: the error
} tk_event;

struct tk_call {
    tk_mail_item item; // in the text thread's queue
    struct tk_server *server;
    const tk_route *route;
    tk_conn *conn; // NULL once the client has gone or has its answer
    tk_call *prev, *next;
    atomic_bool gone; // relaxed: lets the text thread skip work
    bool prepared;
    int key;
    uint64_t begun_ns;
    int64_t created_s; // Unix time
    char id[64];       // of the answer
    char request_id[132];
    tk_buf body;
    json_t *json; // the request, from the text thread on
    const char *model;
    tk_api_err error;
    json_t *reply; // an answer that is no generation
    tk_gen gen;
    atomic_int n_event; // relaxed: posted and not yet handled
};

// gen.c. Text thread: makes the choices from what c->gen holds.
void tk_gen_prepare(tk_call *c);
// Loop: submits the jobs and begins the answer, or replies with the error.
void tk_gen_submit(tk_call *c);
void tk_gen_event(tk_event *e); // TOKEN, PROMPT, DONE
void tk_gen_cancel(tk_call *c);
void tk_gen_free(tk_call *c);
int64_t tk_gen_tokens(const tk_call *c); // prompt and output, for limits
// usage sums: prompt, cached, output, reasoning
typedef struct tk_usage {
    int64_t prompt, cached, output, thought;
} tk_usage;
tk_usage tk_gen_usage(const tk_call *c);

// Sends a stream's event: "event: NAME" (NULL = none) and the JSON (reference taken over).
void tk_call_send(tk_call *c, const char *event, json_t *data);
// Replies with c->error.
void tk_call_reply_error(tk_call *c);
void tk_call_reply_json(tk_call *c, int status, json_t *j); // takes the reference over

#endif
