// SPDX-License-Identifier: MIT
#include "plan/param.h"

#include <ctype.h>
#include <string.h>

static const tk_param_info infos[] = {
#define X(id, name, unit, stage, log, prior, sigma, from)                                          \
    [TK_P_##id] = {name, unit, from, TK_STAGE_##stage, log, prior, sigma},
    TK_PARAM_MAP(X)
#undef X
};

const tk_param_info *tk_param_get(tk_param_id id)
{
    return &infos[id];
}

void tk_params_prior(tk_params *out)
{
    for (int i = 0; i < TK_P_COUNT; i++) out->v[i] = infos[i].prior;
}

static const char *const backends[] = {
#define X(id, name) name,
    TK_BACKEND_MAP(X)
#undef X
};

const char *tk_backend_name(tk_backend b)
{
    return backends[b];
}

int tk_backend_find(const char *name)
{
    // the longest words first: "vLLM (ML.ENERGY v3)" is not plain vLLM
    static const struct {
        const char *word;
        tk_backend b;
    } words[] = {{"vllm 0.7", TK_BACKEND_VLLM0},      {"vllm 0.6", TK_BACKEND_VLLM0},
                 {"vllm0", TK_BACKEND_VLLM0},         {"ml.energy", TK_BACKEND_MLENERGY},
                 {"mlenergy", TK_BACKEND_MLENERGY},   {"mlperf", TK_BACKEND_MLPERF},
                 {"tensorrt-llm", TK_BACKEND_TRTLLM}, {"trt-llm", TK_BACKEND_TRTLLM},
                 {"trtllm", TK_BACKEND_TRTLLM},       {"vllm", TK_BACKEND_VLLM},
                 {"sglang", TK_BACKEND_SGLANG},       {"chitu", TK_BACKEND_CHITU},
                 {"in-house", TK_BACKEND_SGLANG}};
    char low[128];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof low; n++) low[n] = (char)tolower((unsigned char)name[n]);
    low[n] = 0;
    for (size_t i = 0; i < TK_COUNT(words); i++)
        if (strstr(low, words[i].word)) return (int)words[i].b;
    return -1;
}
