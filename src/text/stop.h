// SPDX-License-Identifier: MIT
// Stop strings in a stream of text: what could still become a stop string is held back, the stop string
// itself is never shown. One owner.
#ifndef TK_TEXT_STOP_H
#define TK_TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tk_stop tk_stop;

tk_stop *tk_stop_new(const char *const *stops,
                     int n);   // strings are borrowed; empty ones are ignored; never NULL
void tk_stop_free(tk_stop *s); // NULL is fine
// Feeds text; returns what may be shown (*len bytes, valid until the next call). *hit = true once a stop string
// was found: nothing comes after.
const char *tk_stop_push(tk_stop *s, const char *text, size_t len, size_t *shown, bool *hit);
// Which stop string was found, -1 = none yet.
int tk_stop_which(const tk_stop *s);
// What was held back, at the end of the stream.
const char *tk_stop_flush(tk_stop *s, size_t *shown);

#endif
