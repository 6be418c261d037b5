// SPDX-License-Identifier: MIT
// The GNU extensions this project uses, under names; nothing else of the compiler's is used.
#ifndef TK_BASE_COMPILER_H
#define TK_BASE_COMPILER_H

#define TK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TK_NODISCARD __attribute__((warn_unused_result))
#define TK_INLINE static inline __attribute__((always_inline))
#define TK_LIKELY(x) __builtin_expect(!!(x), 1)
#define TK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define TK_ALIGNED(n) __attribute__((aligned(n)))
#define TK_RETURNS_NONNULL __attribute__((returns_nonnull))
#define TK_UNUSED __attribute__((unused))
#define TK_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TK_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TK_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
