// SPDX-License-Identifier: MIT
// GPT-2's byte-level alphabet: printable Latin-1 bytes stand for themselves, the 68 others for U+0100.. in
// order, so that a vocabulary file shows no control characters.
#include "text/tokenizer_priv.h"

#include "base/utf8.h"

static bool shows_itself(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

// The byte a character stands for, or -1.
static int byte_of(uint32_t cp)
{
    if (cp < 256) return shows_itself(cp) ? (int)cp : -1;
    uint32_t k = cp - 256;
    for (uint32_t b = 0; b < 256; b++) {
        if (shows_itself(b)) continue;
        if (k-- == 0) return (int)b;
    }
    return -1;
}

bool byte_level_undo(const char *s, size_t len, tk_buf *out)
{
    size_t start = out->len;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = tk_utf8_read(s + i, len - i, &cp, NULL);
        int b = n ? byte_of(cp) : -1;
        if (b < 0 || !tk_buf_add_char(out, (char)b)) {
            out->len = start;
            return false;
        }
        i += n;
    }
    return true;
}
