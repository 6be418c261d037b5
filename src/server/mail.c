// SPDX-License-Identifier: MIT
#include "server/mail.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool tk_mail_init(tk_mail *q, size_t max, bool with_fd)
{
    *q = (tk_mail){.max = max, .fd = -1};
    if (with_fd) {
        q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (q->fd < 0) return false;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    return true;
}

void tk_mail_destroy(tk_mail *q)
{
    if (q->fd >= 0) close(q->fd);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->more);
}

bool tk_mail_post(tk_mail *q, tk_mail_item *item)
{
    item->next = NULL;
    pthread_mutex_lock(&q->lock);
    bool fits = !q->closed && (q->max == 0 || q->n < q->max), was_empty = q->head == NULL;
    if (fits) {
        if (q->tail)
            q->tail->next = item;
        else
            q->head = item;
        q->tail = item;
        q->n++;
        if (q->fd < 0) pthread_cond_signal(&q->more);
    }
    pthread_mutex_unlock(&q->lock);
    if (fits && was_empty && q->fd >= 0) {
        const uint64_t one = 1;
        ssize_t ignored = write(q->fd, &one, sizeof one); // full = readable already
        (void)ignored;
    }
    return fits;
}

tk_mail_item *tk_mail_take_all(tk_mail *q)
{
    uint64_t n;
    if (q->fd >= 0) { // before the list: what is posted after this makes it readable again
        ssize_t ignored = read(q->fd, &n, sizeof n);
        (void)ignored;
    }
    pthread_mutex_lock(&q->lock);
    tk_mail_item *all = q->head;
    q->head = q->tail = NULL;
    q->n = 0;
    pthread_mutex_unlock(&q->lock);
    return all;
}

tk_mail_item *tk_mail_wait(tk_mail *q)
{
    pthread_mutex_lock(&q->lock);
    while (q->head == NULL && !q->closed) pthread_cond_wait(&q->more, &q->lock);
    tk_mail_item *item = q->head;
    if (item) {
        q->head = item->next;
        if (q->head == NULL) q->tail = NULL;
        q->n--;
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

void tk_mail_close(tk_mail *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}
