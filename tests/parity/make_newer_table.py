# SPDX-License-Identifier: MIT
"""Which characters Hugging Face's regular expressions know and Unicode 14 (Debian 12's PCRE2, Python 3.11) does not.

    python make_newer_table.py > src/text/newer.h

Asks `tokenizers` itself: each character unassigned in Unicode 14 against each general category. Needs tokenizers and
a Python whose unicodedata is of Unicode 14.
"""
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So").split()


def ranges(chars):
    out = []
    for c in sorted(chars):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def literal(chars):
    text = "".join(f"\\\\x{{{a:x}}}" + (f"-\\\\x{{{b:x}}}" if b > a else "") for a, b in ranges(chars))
    lines = [""]
    for item in text.split("\\\\x")[1:]:
        if len(lines[-1]) + len(item) > 80:
            lines.append("")
        lines[-1] += "\\\\x" + item
    return "\n     ".join(f'"{x}"' for x in lines)


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"Unicode {unicodedata.unidata_version} here, 14.0.0 is wanted")
    newer = [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Cn"]
    members = {}
    for category in CATEGORIES:
        split = pre_tokenizers.Split(Regex(r"\p{%s}+" % category), "removed")
        found = {c for c in newer if not split.pre_tokenize_str(chr(c))}
        if found:
            members[category] = found
            members.setdefault(category[0], set()).update(found)
    print("// SPDX-License-Identifier: MIT")
    print("// Made by tests/parity/make_newer_table.py: characters that Hugging Face's patterns know by their general")
    print("// category and Unicode 14 does not, as the inside of a character class.")
    print("#ifndef TK_TEXT_NEWER_H\n#define TK_TEXT_NEWER_H\n")
    print("static const struct {\n    const char *category, *characters;\n} tok_newer[] = {")
    for name in sorted(members):
        print(f'    {{"{name}",\n     {literal(members[name])}}},')
    print("};\n\n#endif")


main()
