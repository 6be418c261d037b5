// SPDX-License-Identifier: MIT
// The HTTP server: an event loop on its own thread that never blocks, a thread that reads requests (JSON,
// template, tokenizer, grammar), and the engine's thread behind tk_service. docs/server.md says what it
// answers. Owner: the thread that started it.
#ifndef TK_SERVER_SERVER_H
#define TK_SERVER_SERVER_H

#include "base/status.h"
#include "engine/service.h"
#include "server/auth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_server tk_server;

typedef struct tk_server_opts {
    const char *host;            // address to listen on; default 127.0.0.1
    int port;                    // 0 = one that is free; default 8000
    const char *const *api_keys; // [n_api_key], copied
    int n_api_key;
    bool allow_open; // listen beyond loopback without a key
    tk_auth_limits limits;
    size_t max_body_bytes;   // default TK_LIMIT_HTTP_BODY_BYTES
    int max_conn;            // default 4096
    const char *const *cors; // [n_cors] origins, kept by the caller; none by default
    int n_cors;
    const char *const *names; // [n_name] what the model is called, the first one in answers; copied
    int n_name;
    const char *reasoning_parser, *tool_parser; // a name, or "auto" (default)
    double temperature, top_p, min_p; // for requests that do not say; NAN = the model's, or 1, 1, 0
    int64_t top_k;                    // -1 = the model's, or all
    bool web_page;                    // at "/"; default true
    const char *powercap_dir;         // where the energy counters are; NULL = where Linux has them
    const char *version, *commit;
} tk_server_opts;

tk_server_opts tk_server_opts_default(void);

// Binds, and answers 503 until tk_server_ready. TK_USAGE: an address beyond loopback without a key. TK_FAILED:
// the address is taken.
tk_status tk_server_start(const tk_server_opts *o, tk_server **out, tk_err *err);
int tk_server_port(const tk_server *s);
// The model is loaded and its service runs; both outlive the server's last answer. max_len: tokens of one
// sequence.
tk_status tk_server_ready(tk_server *s, tk_model *m, tk_service *service, int32_t max_len,
                          double load_s, tk_err *err);
// Stops listening; what has been sent over open connections is still answered. Returns at once.
void tk_server_drain(tk_server *s);
// Waits until all answers have been given, or for timeout_s: false. Then no more jobs are submitted, and the
// service may be stopped.
bool tk_server_wait(tk_server *s, double timeout_s);
// After the service has been stopped. NULL is fine.
void tk_server_free(tk_server *s);

#endif
