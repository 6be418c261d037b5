// SPDX-License-Identifier: MIT
#include "plan/effects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct spread {
    double whole,
        near; // standard deviations of log: of a group, and of what varies within it by `at`
} spread;

// Chosen once by the marginal likelihood of all residuals (plan/fit_noise.c), not by any fold; TTFT's by the folds
// (docs/planner.md says why).
static const struct {
    double length[TK_TRAIT_DIMS]; // octaves
    spread common, group[TK_TRAIT_GROUPS];
} kernels[] = {
    [TK_STAGE_SERVE] = {{2.1, 1.15, 2.5},
                        {0, .05},
                        {{0, .03}, {.05, .12}, {.2, .08}, {.16, 0}, {.03, .08}}},
    [TK_STAGE_TTFT] = {{1.5, 1.1, 4},
                       {0, .15},
                       {{.15, .03}, {.25, .05}, {.15, .15}, {.2, .15}, {0, 0}}},
    [TK_STAGE_TRAIN] = {{1, 2, 2}, {0, 0}, {{.08, .03}, {.05, .05}, {0, 0}, {0, .03}, {0, 0}}},
    [TK_STAGE_ENERGY] = {{2.1, 2.2, 2.4},
                         {0, 0},
                         {{.08, .05}, {0, .03}, {.05, 0}, {0, .05}, {.08, 0}}},
};

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u; // FNV-1a
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

void tk_trait_key(tk_trait *t, int group, const char *name)
{
    snprintf(t->key[group], TK_TRAIT_KEY, "%.95s", name);
    t->hash[group] = hash(t->key[group]);
}

void tk_trait_set(tk_trait *t, tk_stage stage, const char *backend, const tk_hw *hw,
                  const char *model, const char *precision, bool pools)
{
    char key[TK_TRAIT_KEY];
    memset(t, 0, sizeof *t);
    t->stage = stage;
    snprintf(key, sizeof key, "%.60s", model);
    tk_trait_key(t, 0, key);
    snprintf(key, sizeof key, "%.16s %.40s", backend, hw->part);
    tk_trait_key(t, 1, key);
    snprintf(key, sizeof key, "%.60s %d", model, hw->gen);
    tk_trait_key(t, 2, key);
    snprintf(key, sizeof key, "%.16s %.60s%s", backend, model, pools ? " pools" : "");
    tk_trait_key(t, 3, key);
    snprintf(key, sizeof key, "%.16s %.20s %.40s %.4s", backend, hw->part, model, precision);
    tk_trait_key(t, 4, key);
}

// The two parts of a covariance: of what the cases share whole, and of what varies with their distance.
static spread shared(const tk_trait *a, const tk_trait *b)
{
    const spread *c = &kernels[a->stage].common, *g = kernels[a->stage].group;
    spread sum = {c->whole * c->whole, c->near * c->near};
    for (int i = 0; i < TK_TRAIT_GROUPS; i++) {
        if (a->hash[i] != b->hash[i]) continue;
        sum.whole += g[i].whole * g[i].whole;
        sum.near += g[i].near * g[i].near;
    }
    return sum;
}

static double nearness(tk_stage stage, const double a[TK_TRAIT_DIMS], const double b[TK_TRAIT_DIMS])
{
    double far = 0;
    for (int d = 0; d < TK_TRAIT_DIMS; d++) {
        double x = (a[d] - b[d]) / kernels[stage].length[d];
        far += x * x;
    }
    return exp(-far / 2);
}

double tk_trait_covariance(const tk_trait *a, const tk_trait *b)
{
    if (a->stage != b->stage) return 0;
    spread s = shared(a, b);
    return s.whole + s.near * nearness(a->stage, a->at, b->at);
}

void tk_effects_aim(const tk_effects *fx, const tk_trait *t, tk_effects_field *out)
{
    out->stage = t->stage;
    out->whole = 0;
    out->n = 0;
    for (int i = 0; fx && i < fx->n; i++) {
        const tk_trait *b = &fx->trait[i];
        if (fx->weight[i] == 0 || b->stage != t->stage) continue;
        spread s = shared(t, b);
        out->whole += fx->weight[i] * s.whole;
        if (s.near == 0) continue;
        tk_effects_term *term = &out->term[out->n++];
        term->weight = fx->weight[i] * s.near;
        memcpy(term->at, b->at, sizeof term->at);
    }
}

double tk_effects_at(const tk_effects_field *f, const double at[TK_TRAIT_DIMS])
{
    double sum = f->whole;
    for (int i = 0; i < f->n; i++) sum += f->term[i].weight * nearness(f->stage, f->term[i].at, at);
    return exp(sum);
}

double tk_effects_scale(const tk_effects *fx, const tk_trait *t)
{
    tk_effects_field f;
    if (fx == NULL) return 1;
    tk_effects_aim(fx, t, &f);
    return tk_effects_at(&f, t->at);
}

double tk_effects_nearest(const tk_effects *fx, const tk_trait *t)
{
    double best = 0, own = tk_trait_covariance(t, t);
    for (int i = 0; fx && i < fx->n; i++) {
        const tk_trait *b = &fx->trait[i];
        if (fx->weight[i] == 0 || b->stage != t->stage) continue;
        best = fmax(best, tk_trait_covariance(b, t) / sqrt(own * tk_trait_covariance(b, b)));
    }
    return best;
}
