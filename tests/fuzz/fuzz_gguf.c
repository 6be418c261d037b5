// SPDX-License-Identifier: MIT
// The bytes as a .gguf file: opened, every value of it reached, every tensor asked for as a matrix.
#include "store/checkpoint.h"
#include "store/gguf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

unsigned seen; // visible elsewhere, so that reading the strings is not optimised away

static char path[64];

static void remove_file(void)
{
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (path[0] == 0) {
        snprintf(path, sizeof path, "/tmp/tk_fuzz_%ld.gguf", (long)getpid());
        atexit(remove_file);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL) abort();
    size_t written = fwrite(data, 1, size, f);
    if (fclose(f) != 0 || written != size) abort();
    tk_ckpt *c = NULL;
    tk_err err = TK_ERR_INIT;
    if (tk_ckpt_open(path, &c, &err) != TK_OK) return 0;
    size_t n = tk_gguf_array_len(c, "k"), len;
    const char *s;
    for (size_t i = 0; i < n; i++)
        if (tk_gguf_array_str(c, "k", i, &s, &len) && len > 0) seen += (unsigned char)s[len - 1];
    for (size_t i = 0; i < tk_ckpt_tensor_count(c); i++) {
        const tk_tensor *t = tk_ckpt_tensor(c, i);
        tk_matrix m;
        if (t->n_dim > 0)
            tk_ckpt_matrix(c, t->name, t->n_dim > 1 ? t->dim[0] : 1, t->dim[t->n_dim - 1], &m,
                           NULL);
    }
    tk_ckpt_verify(c, &err);
    tk_ckpt_close(c);
    return 0;
}
