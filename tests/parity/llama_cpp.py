# SPDX-License-Identifier: MIT
"""llama.cpp as the xllamacpp package brings it, asked over its HTTP interface on the loopback. The cache is F32 and
flash attention is off: with F32 weights it rounds nothing below float32.
"""

import json
import urllib.request

import xllamacpp


def serve(path):
    """llama.cpp's server on a free port; it stops with the process."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = 512, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup = False
    return xllamacpp.Server(params)


def ask(server, path, **body):
    """One request to the server."""
    request = urllib.request.Request(
        server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
