// SPDX-License-Identifier: MIT
// Messages from many threads to one, in the order they were posted. Items are intrusive (a tk_mail_item as
// the first field) and owned by the queue between post and take. The taker either waits, or polls the
// queue's descriptor, which is readable while items may be there.
#ifndef TK_SERVER_MAIL_H
#define TK_SERVER_MAIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct tk_mail_item {
    struct tk_mail_item *next;
} tk_mail_item;

typedef struct tk_mail {
    pthread_mutex_t lock; // guards head, tail, n, closed
    pthread_cond_t more;
    tk_mail_item *head, *tail;
    size_t n, max; // max 0 = the posters bound it
    bool closed;
    int fd; // eventfd, -1 = none
} tk_mail;

// with_fd: the taker polls tk_mail.fd. False when no descriptor is to be had.
bool tk_mail_init(tk_mail *q, size_t max, bool with_fd);
void tk_mail_destroy(tk_mail *q); // the items left are the caller's to take before
// Any thread. False when full or closed; the item is then still the caller's.
bool tk_mail_post(tk_mail *q, tk_mail_item *item);
// Everything that is there, in order, and the descriptor is no longer readable. Never blocks.
tk_mail_item *tk_mail_take_all(tk_mail *q);
// The next item; blocks until there is one. NULL once closed and empty.
tk_mail_item *tk_mail_wait(tk_mail *q);
void tk_mail_close(tk_mail *q);

#endif
