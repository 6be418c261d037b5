// SPDX-License-Identifier: MIT
#include "plan/effects.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void tk_effects_keys(const char *backend, const tk_hw *hw, const char *model, const char *precision,
                     bool pools, char key[TK_EFFECT_GROUPS][TK_EFFECT_KEY])
{
    snprintf(key[0], TK_EFFECT_KEY, "%.60s", model);
    snprintf(key[1], TK_EFFECT_KEY, "%.16s %.40s", backend, hw->part);
    snprintf(key[2], TK_EFFECT_KEY, "%.16s %.60s%s", backend, model, pools ? " pools" : "");
    snprintf(key[3], TK_EFFECT_KEY, "%.16s %.20s %.40s %.4s", backend, hw->part, model, precision);
}

static int find(const tk_effects *fx, const char *key)
{
    for (int i = 0; i < fx->n; i++)
        if (strcmp(fx->e[i].key, key) == 0) return i;
    return -1;
}

double tk_effects_scale(const tk_effects *fx, char key[TK_EFFECT_GROUPS][TK_EFFECT_KEY])
{
    double sum = 0;
    if (fx == NULL || fx->n == 0) return 1;
    for (int g = 0; g < TK_EFFECT_GROUPS; g++) {
        int i = find(fx, key[g]);
        if (i >= 0) sum += fx->e[i].v;
    }
    return exp(sum);
}

static int add(tk_effects *fx, const char *key)
{
    int i = find(fx, key);
    if (i >= 0 || fx->n == TK_EFFECT_MAX) return i;
    fx->e[fx->n] = (tk_effect){.v = 0};
    snprintf(fx->e[fx->n].key, TK_EFFECT_KEY, "%s", key);
    return fx->n++;
}

void tk_effects_fit(int n, char (*key)[TK_EFFECT_GROUPS][TK_EFFECT_KEY], const double *r,
                    tk_effects *out)
{
    enum { ROUNDS = 12 };
    const double shrink = 4, most = 0.7; // one wild row moves no group far
    int(*at)[TK_EFFECT_GROUPS] = tk_alloc((size_t)n * sizeof *at + 1);
    double sum[TK_EFFECT_MAX], count[TK_EFFECT_MAX];
    out->n = 0;
    for (int i = 0; i < n; i++)
        for (int g = 0; g < TK_EFFECT_GROUPS; g++) at[i][g] = add(out, key[i][g]);
    for (int round = 0; round < ROUNDS; round++)
        for (int g = 0; g < TK_EFFECT_GROUPS; g++) {
            memset(sum, 0, sizeof sum);
            memset(count, 0, sizeof count);
            for (int i = 0; i < n; i++) {
                if (at[i][g] < 0) continue;
                double left = fmax(-most, fmin(most, r[i]));
                for (int h = 0; h < TK_EFFECT_GROUPS; h++)
                    if (h != g && at[i][h] >= 0) left -= out->e[at[i][h]].v;
                sum[at[i][g]] += left;
                count[at[i][g]]++;
            }
            for (int k = 0; k < out->n; k++)
                if (count[k] > 0) out->e[k].v = sum[k] / (count[k] + shrink);
        }
    tk_free(at);
}
