# SPDX-License-Identifier: MIT
"""Writes a GGUF file again with every tensor as F32, metadata kept: the same model for an engine whose answer
should not depend on its kernels for quantised weights.

    python widen_gguf.py IN.gguf OUT.gguf
"""

import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

ALL_F32 = 0  # general.file_type


def copy_metadata(reader, writer):
    """Every key but those the writer makes itself."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = ALL_F32 if field.name == "general.file_type" else field.contents()
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=element)


def copy_widened(reader, writer):
    """Every tensor as F32."""
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        wide = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, np.ascontiguousarray(wide.reshape(shape)))


def finish(writer):
    """Writes what was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def widen(source, target):
    """source, target: paths."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    copy_widened(reader, writer)
    finish(writer)


if __name__ == "__main__":
    widen(*sys.argv[1:])
