// SPDX-License-Identifier: MIT
#include "plan/rounds.h"

#include <math.h>

// More users than this are grouped: a group is one user with its members' prompts read together.
enum { USERS_MAX = 64 };

typedef struct loop {
    const tk_rounds_in *in;
    double scale; // users that one stands for
    int users, slots;
    int left;               // prompts not yet sent
    double now, clock;      // seconds; decode steps done
    double pool_free;       // when a separate pool is done
    double sent[USERS_MAX]; // waiting prompts, a ring
    int head, waiting;
    double end[USERS_MAX]; // running answers by the step they end at, a heap
    int running;
    double golden; // sequence of lengths: multiples of the golden ratio spread evenly
    double sum;
    int answered;
} loop;

static void send(loop *l)
{
    if (l->left == 0) return;
    l->left--;
    l->sent[(l->head + l->waiting++) % USERS_MAX] = l->now;
}

static double take(loop *l)
{
    double when = l->sent[l->head];
    l->head = (l->head + 1) % USERS_MAX;
    l->waiting--;
    return when;
}

static void start(loop *l)
{
    l->golden += 0.6180339887498949;
    l->golden -= floor(l->golden);
    double e = l->clock + l->in->steps * (1 + l->in->spread * (2 * l->golden - 1));
    int i = l->running++;
    for (; i > 0 && l->end[(i - 1) / 2] > e; i = (i - 1) / 2) l->end[i] = l->end[(i - 1) / 2];
    l->end[i] = e;
}

static void stop(loop *l)
{
    double e = l->end[--l->running];
    int i = 0;
    for (int c = 1; c < l->running; c = 2 * i + 1) {
        if (c + 1 < l->running && l->end[c + 1] < l->end[c]) c++;
        if (l->end[c] >= e) break;
        l->end[i] = l->end[c];
        i = c;
    }
    l->end[i] = e;
}

static double step_s(const loop *l)
{
    return l->in->step_s + l->in->step_more_s * l->running * l->scale;
}

// One pass reads what waits and has a slot; running answers get one step (or several: a long prompt's chunks).
static void pass(loop *l)
{
    double room = fmax(1, floor(l->in->per_pass / l->scale));
    int n = l->slots - l->running;
    if (n > l->waiting) n = l->waiting;
    if (n > room) n = (int)room;
    double passes = fmax(1, n * l->scale / l->in->per_pass);
    double extra = n * l->scale * l->in->prompt_s + passes * l->in->pass_s;
    l->now += extra + passes * (l->running ? step_s(l) : 0);
    l->clock += passes;
    for (int i = 0; i < n; i++) {
        l->sum += l->now - take(l);
        l->answered++;
        start(l);
    }
}

// A pool of its own takes prompts in order; the answer runs on when a slot is free.
static void read_apart(loop *l)
{
    double when = take(l);
    double begin = fmax(l->pool_free, when);
    l->pool_free = begin + l->scale * l->in->prompt_s;
    double ready = l->pool_free + l->in->pass_s;
    l->sum += ready - when;
    l->answered++;
    double late = fmax(0, ready - l->now) / step_s(l);
    l->clock += late; // its steps begin when it is read: the clock stands in for the delay
    start(l);
    l->clock -= late;
}

static double wait_with(const tk_rounds_in *in, double scale, int users, int slots)
{
    loop l = {.in = in, .scale = scale, .users = users, .slots = slots};
    const int all = l.left = (int)(users * fmin(in->rounds, 100));
    for (int i = 0; i < users; i++) send(&l);
    // each turn reads a prompt or ends an answer; the bound holds whatever numbers came in
    for (int turn = 2 * all + 2; turn > 0 && (l.waiting || (l.running && l.left)); turn--) {
        if (l.waiting && l.running < l.slots) {
            if (in->apart)
                read_apart(&l);
            else
                pass(&l);
        } else if (l.end[0] > l.clock) {
            l.now += (l.end[0] - l.clock) * step_s(&l);
            l.clock = l.end[0];
        }
        while (l.running && l.end[0] <= l.clock) {
            stop(&l);
            send(&l);
        }
    }
    return l.answered ? l.sum / l.answered : 0;
}

double tk_rounds_wait(const tk_rounds_in *in)
{
    double scale = in->users > USERS_MAX ? in->users / USERS_MAX : 1;
    int users = (int)fmax(1, round(in->users / scale));
    double slots = fmax(1, fmin(users, in->slots / scale));
    int whole = (int)slots;
    double s = wait_with(in, scale, users, whole);
    // between whole numbers of slots the wait is interpolated, so that a fit sees no steps
    return whole < users ? s + (slots - whole) * (wait_with(in, scale, users, whole + 1) - s) : s;
}
