// SPDX-License-Identifier: MIT
// Inside the server.
#ifndef TK_SERVER_SERVER_PRIV_H
#define TK_SERVER_SERVER_PRIV_H

#include "server/call.h"
#include "server/metrics.h"
#include "server/server.h"
#include "text/token_trie.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

typedef enum tk_server_state {
    TK_SERVER_LOADING,
    TK_SERVER_READY,
    TK_SERVER_DRAINING,
    TK_SERVER_CLOSED // the service is not called any more
} tk_server_state;

struct tk_route {
    const char *method, *path;
    bool prefix;    // path is the beginning
    bool open;      // needs no key
    bool anthropic; // the form of errors
    bool needs_model;
    // answered at once, on the loop
    void (*now)(struct tk_server *s, tk_conn *c, const tk_http1 *h);
    // or read by the text thread: fills c->gen or c->reply, or sets c->error
    tk_status (*read)(tk_call *c);
};

struct tk_server {
    tk_server_opts opts;
    int port;
    struct event_base *base;
    struct event *listen_ev, *mail_ev, *wake_ev;
    evutil_socket_t listen_fd;
    int wake_fd; // eventfd: another thread wants the loop to look at `state` and `stop`
    tk_conn_set *conns;
    tk_auth *auth;
    tk_metrics metrics;
    tk_energy *energy;
    struct event *energy_ev; // NULL = there is none to read
    tk_call *calls;          // all there are
    int n_call;
    uint64_t n_id;
    tk_mail mail; // to the loop
    tk_mail work; // to the text thread
    pthread_t loop_thread, text_thread;
    bool text_runs, loop_runs;
    uint64_t stop_ns;     // the loop's: when it was told to end
    atomic_int state;     // tk_server_state; release in ready and drain, acquire by its readers
    atomic_bool stop;     // release: the loop ends; pairs with acquire in it
    pthread_mutex_t lock; // guards idle, closed (written by the loop alone)
    pthread_cond_t changed;
    bool idle;   // draining, and nothing is left to answer
    bool closed; // the loop has seen CLOSED
    // from tk_server_ready on, before READY is seen; not changed afterwards
    tk_model *model;
    tk_service *service;
    int32_t max_len, n_vocab;
    double load_s;
    tk_sample_opts sample;
    const tk_reasoning_marks *marks; // NULL = the model does not reason
    tk_tool_format tools;
    bool template_has_tools, template_has_effort;
    bool marks_are_special; // their tokens are control tokens
    tk_token_trie *trie;
    // the text thread's
    struct tk_grammar_cache *grammars;
};

// server.c. A whole answer; takes the reference over.
void tk_server_reply(tk_conn *conn, int status, const char *headers, json_t *j);

// route.c
const tk_route *tk_route_find(const tk_http1 *h, bool *known_path);
bool tk_server_is_name(const tk_server *s, const char *name);
// api_*.c: readers of requests
tk_status tk_read_chat(tk_call *c);
tk_status tk_read_completion(tk_call *c);
tk_status tk_read_response(tk_call *c);
tk_status tk_read_message(tk_call *c);
tk_status tk_read_count_tokens(tk_call *c);
tk_status tk_read_tokenize(tk_call *c);
tk_status tk_read_detokenize(tk_call *c);

#endif
