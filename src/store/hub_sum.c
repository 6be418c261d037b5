// SPDX-License-Identifier: MIT
#include "store/hub_sum.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

struct tk_hub_sum {
    EVP_MD_CTX *ctx;
    const EVP_MD *md;
    uint64_t size;
};

static bool begin(tk_hub_sum *s)
{
    char head[40]; // git hashes the length too
    int n = snprintf(head, sizeof head, "blob %" PRIu64, s->size) + 1;
    if (EVP_DigestInit_ex(s->ctx, s->md, NULL) != 1) return false;
    return s->md == EVP_sha256() || EVP_DigestUpdate(s->ctx, head, (size_t)n) == 1;
}

tk_status tk_hub_sum_new(size_t hex_len, uint64_t size, tk_hub_sum **out, tk_err *err)
{
    tk_hub_sum *s = tk_alloc(sizeof *s);
    s->ctx = EVP_MD_CTX_new();
    s->md = hex_len == 64 ? EVP_sha256() : EVP_sha1();
    s->size = size;
    *out = NULL;
    if (s->ctx == NULL || !begin(s)) {
        tk_hub_sum_free(s);
        return tk_fail(err, TK_FAILED, "libcrypto refuses to compute %s", tk_hub_sum_name(hex_len));
    }
    *out = s;
    return TK_OK;
}

void tk_hub_sum_free(tk_hub_sum *s)
{
    if (s == NULL) return;
    EVP_MD_CTX_free(s->ctx);
    tk_free(s);
}

void tk_hub_sum_restart(tk_hub_sum *s)
{
    bool ok = begin(s); // it began once already
    assert(ok);
}

void tk_hub_sum_add(tk_hub_sum *s, const void *p, size_t len)
{
    int ok = EVP_DigestUpdate(s->ctx, p, len);
    assert(ok == 1);
}

void tk_hub_sum_hex(tk_hub_sum *s, char out[TK_HUB_SUM_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    int ok = EVP_DigestFinal_ex(s->ctx, sum, &n);
    assert(ok == 1 && n * 2 < TK_HUB_SUM_HEX);
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[2 * (size_t)n] = 0;
}

const char *tk_hub_sum_name(size_t hex_len)
{
    return hex_len == 64 ? "sha256" : "git sha1";
}
