// SPDX-License-Identifier: MIT
// The two readers behind tk_config_read.
#ifndef TK_MODEL_CONFIG_READ_H
#define TK_MODEL_CONFIG_READ_H

#include "model/config.h"

tk_status tk_config_read_hf(const tk_ckpt *ckpt, tk_config *c, tk_err *err);
tk_status tk_config_read_gguf(const tk_ckpt *ckpt, tk_config *c, tk_err *err);

#endif
