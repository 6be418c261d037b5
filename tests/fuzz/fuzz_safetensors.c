// SPDX-License-Identifier: MIT
// The bytes as the model.safetensors of a folder: opened, every tensor asked for as a matrix and read.
#include "store/checkpoint.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64], path[96];

static void remove_folder(void)
{
    unlink(path);
    rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (dir[0] == 0) {
        snprintf(dir, sizeof dir, "/tmp/tk_fuzz_XXXXXX");
        if (mkdtemp(dir) == NULL) abort();
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        atexit(remove_folder);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL) abort();
    size_t written = fwrite(data, 1, size, f);
    if (fclose(f) != 0 || written != size) abort();
    tk_ckpt *c = NULL;
    tk_err err = TK_ERR_INIT;
    if (tk_ckpt_open(dir, &c, &err) != TK_OK) return 0;
    for (size_t i = 0; i < tk_ckpt_tensor_count(c); i++) {
        const tk_tensor *t = tk_ckpt_tensor(c, i);
        tk_matrix m;
        float v[2];
        int64_t n_in = t->n_dim > 0 ? t->dim[t->n_dim - 1] : 1;
        if (t->dtype == TK_DTYPE_U8 && n_in < INT32_MAX) n_in *= 2;
        if (tk_ckpt_matrix(c, t->name, t->n_dim > 1 ? t->dim[0] : 1, n_in, &m, NULL) == TK_OK &&
            m.n_out > 0 && n_in >= 2 && n_in % 2 == 0)
            tk_matrix_decode(&m, m.n_out - 1, n_in - 2, 2, v);
    }
    tk_ckpt_verify(c, &err);
    tk_ckpt_close(c);
    return 0;
}
