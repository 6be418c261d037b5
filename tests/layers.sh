#!/bin/sh
# SPDX-License-Identifier: MIT
# layers.sh [ROOT]: every #include in src/ obeys src/LAYERS, and no source calls what docs/style.md bans.
# One case per folder and per banned function; prints "N passed, N failed".
set -eu
root=${1:-$(dirname "$0")/..}
cd "$root"
passed=0
failed=0

count() { # count NAME FINDINGS: one case, failed when there are findings
    if [ -z "$2" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$1" "$2"
    fi
}

# Comments and the insides of strings do not call anything. Keeps line numbers.
strip() {
    awk '
    {
        line = $0; out = ""; quote = ""
        for (i = 1; i <= length(line); i++) {
            c = substr(line, i, 1); two = substr(line, i, 2)
            if (inside) { if (two == "*/") { inside = 0; i++ } continue }
            if (quote != "") {
                if (c == "\\") i++
                else if (c == quote) { quote = ""; out = out c }
                continue
            }
            if (two == "//") break
            if (two == "/*") { inside = 1; i++; continue }
            if (c == "\"" || c == "\047") quote = c
            out = out c
        }
        print FILENAME ":" FNR ": " out
        if (FNR == 1) inside = 0
    }' "$@"
}

while IFS=: read -r folder allowed; do
    case $folder in '' | '#'*) continue ;; esac
    [ -d "src/$folder" ] || continue
    found=$(find "src/$folder" -name '*.[ch]' -exec grep -Hn '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + |
        awk -v own="$folder" -v allowed="$allowed" '
        BEGIN { n = split(allowed, a, " "); ok[own] = 1; for (i = 1; i <= n; i++) ok[a[i]] = 1 }
        {
            split($0, part, "\""); path = part[2]
            if (path == "tokamak.h") next
            slash = index(path, "/")
            top = slash ? substr(path, 1, slash - 1) : ""
            if (!(top in ok)) print "  " $0 "   (" own "/ may not include this)"
        }')
    count "$folder/ includes only what src/LAYERS lets it" "$found"
done <src/LAYERS

unlisted=$(for d in src/*/; do
    d=$(basename "$d")
    [ -z "$(find "src/$d" -name '*.[ch]')" ] || grep -q "^$d:" src/LAYERS || echo "  src/$d"
done)
count "every folder of src/ is in src/LAYERS" "$unlisted"

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
# Each file alone: an unclosed comment in one must not swallow the next.
find src include -name '*.[ch]' 2>/dev/null | sort | while read -r file; do strip "$file"; done >"$stripped"

for name in strcpy strcat sprintf vsprintf strtok atoi atol atof gets strncpy strncat alloca; do
    count "$name is not called" "$(grep -E "(^|[^A-Za-z0-9_])$name[[:space:]]*\\(" "$stripped" || true)"
done
for name in exit _exit quick_exit; do
    count "$name is not called below cli/" \
        "$(grep -v '^src/cli/' "$stripped" | grep -E "(^|[^A-Za-z0-9_])$name[[:space:]]*\\(" || true)"
done
count "volatile is not used" "$(grep -E '(^|[^A-Za-z0-9_])volatile([^A-Za-z0-9_]|$)' "$stripped" |
    grep -Ev 'sig_atomic_t|(asm|__asm__) volatile' || true)"

long=$(find src include -name '*.[ch]' -exec wc -l {} + 2>/dev/null |
    awk '$2 != "total" && $1 > 800 { print "  " $2 " has " $1 " lines, at most 800" }')
count "no source file is longer than 800 lines" "$long"
spdx=$(find src include tests -name '*.[ch]' 2>/dev/null | while read -r file; do
    head -n 1 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "  $file"
done)
count "every C file begins with its SPDX line" "$spdx"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
