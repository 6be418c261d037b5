# SPDX-License-Identifier: MIT
"""Writes src/text/jinja_case.h from Python's Unicode tables: `make_case_table.py | clang-format > src/text/jinja_case.h`
(Python 3.11: Unicode 14)."""

HEAD = """// SPDX-License-Identifier: MIT
// Unicode facts that utf8proc does not have, as Python's str uses them: characters whose upper or title case
// is longer than one character (SpecialCasing.txt), and those with a digit or numeric value that are no
// decimal digits. Made from Python's unicodedata by tests/parity/make_case_table.py.
#ifndef TK_TEXT_JINJA_CASE_H
#define TK_TEXT_JINJA_CASE_H

#include <stdint.h>

typedef struct jj_special {
    uint32_t cp;
    const char *upper, *title;
} jj_special;
"""


def escaped(s):
    return '"' + "".join(f"\\x{b:02X}" for b in s.encode()) + '"'


def ranges(test):
    out = []
    for c in range(0x80, 0x110000):
        if test(chr(c)):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


def main():
    print(HEAD)
    print("static const jj_special jj_specials[] = {")
    for c in map(chr, range(0x80, 0x110000)):
        if len(c.upper()) > 1 or len(c.title()) > 1:
            print(f"    {{0x{ord(c):X}, {escaped(c.upper())}, {escaped(c.title())}}},")
    print("};\n")
    for name, test in (("digit", str.isdigit), ("numeric", str.isnumeric)):
        print(f"static const uint32_t jj_{name}_ranges[][2] = {{")
        for a, b in ranges(lambda c: test(c) and not c.isdecimal()):
            print(f"    {{0x{a:X}, 0x{b:X}}},")
        print("};\n")
    print("#endif")


if __name__ == "__main__":
    main()
