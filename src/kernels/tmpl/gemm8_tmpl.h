// SPDX-License-Identifier: MIT
// Packed weights times 8-bit activations, for many tokens: bytes of units are multiplied as they are, four
// columns a lane, twice as many products an instruction as of words (gemm_tmpl.h). A tile is P panels and T tokens: an
// activation is broadcast once for both panels.
// Groups are added in the order of gemm_tmpl.h, then the second eight bits of those that have them.
#include <math.h>

enum {
    TK_TMPL(WIDE_FROM) = 4,    // tokens from which products, not memory, are what takes time
    TK_TMPL(BYTE_TOKS) = 4,    // of a tile
    TK_TMPL(BYTE_AHEAD) = 8192 // bytes asked for ahead
};

typedef struct TK_TMPL(tile8) {
    const tk_packed *w;
    const uint8_t *u[2]; // a panel's units
    const tk_group8 *x[TK_TMPL(BYTE_TOKS)];
} TK_TMPL(tile8);

// What a group of a tile adds up to. Few tokens take several chains each, so that a dot product need not wait for the
// one before.
typedef struct TK_TMPL(acc8) {
    w16 of[2][TK_TMPL(CHAINS)][TK_TMPL(BYTE_TOKS)];
} TK_TMPL(acc8);

// acc += bytes of P panels, unsigned, times four activations of each token, from column k of group g on
TK_INLINE void TK_TMPL(dots_bytes)(TK_TMPL(acc8) * acc, const int chain, const w16 *bytes,
                                   const TK_TMPL(tile8) * t8, int64_t g, const int k, const int P,
                                   const int T)
{
    for (int t = 0; t < T; t++) {
        int32_t four;
        memcpy(&four, t8->x[t][g].q + k, sizeof four);
        w16 x = w_set(four);
        for (int p = 0; p < P; p++) {
            w16 *to = &acc->of[p][chain % TK_TMPL(chains)(T)][t];
            *to = w_dot_bytes(*to, bytes[p], x);
        }
    }
}

TK_INLINE w16 TK_TMPL(times_offset)(w16 minus, const int offset)
{
    switch (offset) {
    case 0: return w_set(0);
    case 8: return w_sll32(minus, 3);
    case 12: return w_add32(w_sll32(minus, 3), w_sll32(minus, 2));
    case 32: return w_sll32(minus, 5);
    default: return w_sll32(minus, 7);
    }
}

// The part of a group that a sum is of.
typedef enum TK_TMPL(part) { TK_TMPL(FIRST), TK_TMPL(SECOND), TK_TMPL(ALL) } TK_TMPL(part);

// Codes are stored with an offset, a constant: its part of the sum is taken off at the start.
TK_INLINE void TK_TMPL(start8)(TK_TMPL(acc8) * acc, const TK_TMPL(tile8) * t8, int64_t g,
                               const TK_TMPL(part) part, const int offset, const int P, const int T)
{
    for (int t = 0; t < T; t++) {
        const tk_group8 *x = &t8->x[t][g];
        w16 minus = w_set(part == TK_TMPL(FIRST) ? x->minus_half : x->minus_all);
        if (part == TK_TMPL(SECOND)) minus = w_sub32(minus, w_set(x->minus_half));
        for (int p = 0; p < P; p++)
            for (int c = 0; c < TK_TMPL(chains)(T); c++)
                acc->of[p][c][t] = c ? w_set(0) : TK_TMPL(times_offset)(minus, offset);
    }
}

// sum += d * scale of a token's group * its acc, for panel p
TK_INLINE void TK_TMPL(add8)(v16 *sum, const TK_TMPL(acc8) * acc, const int p, v16 d,
                             const TK_TMPL(tile8) * t8, int64_t g, const int T)
{
    for (int t = 0; t < T; t++) {
        w16 all = acc->of[p][0][t];
        for (int c = 1; c < TK_TMPL(chains)(T); c++) all = w_add32(all, acc->of[p][c][t]);
        sum[t] = v_fma(w_f32(all), v_mul(d, v_set(t8->x[t][g].scale)), sum[t]);
    }
}

TK_INLINE void TK_TMPL(add_min8)(v16 *sum, v16 m, const TK_TMPL(tile8) * t8, int64_t g, const int T)
{
    for (int t = 0; t < T; t++) sum[t] = v_fma(m, v_set(t8->x[t][g].sum), sum[t]);
}

// One step of a form: group g of P panels. at: its units in a panel. sum: [P][BYTE_TOKS].
#define STEP8(name)                                                                                \
    TK_INLINE void TK_TMPL(step8_##name)(const TK_TMPL(tile8) * t8, int64_t g,                     \
                                         TK_TMPL(ahead) ahead, v16(*sum)[TK_TMPL(BYTE_TOKS)],      \
                                         const int P, const int T)
#define SCALES8(p) (t8->u[p] + t8->w->scale_off)

STEP8(q8)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(start8)(&acc, t8, g, TK_TMPL(ALL), 128, P, T);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        w16 q[2];
        for (int p = 0; p < P; p++) q[p] = TK_TMPL(unit)(t8->u[p] + g * 512 + 64 * j, ahead);
        TK_TMPL(dots_bytes)(&acc, j, q, t8, g, 4 * j, P, T);
    }
    for (int p = 0; p < P; p++)
        TK_TMPL(add8)(sum[p], &acc, p, v_f16(SCALES8(p) + g * 32), t8, g, T);
}

// n units of four bits at u of each panel, from column k on.
TK_INLINE void TK_TMPL(bytes4)(TK_TMPL(acc8) * acc, const TK_TMPL(tile8) * t8, int64_t at,
                               TK_TMPL(ahead) ahead, int64_t g, const int k, const int n,
                               const bool is_e2m1, const int P, const int T)
{
    w16 mask = w_set(0x0F0F0F0F);
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) {
        w16 low[2], high[2];
        for (int p = 0; p < P; p++) {
            w16 q = TK_TMPL(unit)(t8->u[p] + at + 64 * j, ahead);
            low[p] = w_and(q, mask);
            high[p] = w_and(w_srl(q, 4), mask);
            if (is_e2m1) low[p] = TK_TMPL(e2m1_codes)(low[p]);
            if (is_e2m1) high[p] = TK_TMPL(e2m1_codes)(high[p]);
        }
        TK_TMPL(dots_bytes)(acc, 0, low, t8, g, k + 8 * j, P, T);
        TK_TMPL(dots_bytes)(acc, 1, high, t8, g, k + 8 * j + 4, P, T);
    }
}

TK_INLINE void TK_TMPL(group8_of4)(TK_TMPL(acc8) * acc, const TK_TMPL(tile8) * t8, int64_t g,
                                   TK_TMPL(ahead) ahead, const int offset, const bool is_e2m1,
                                   const int P, const int T)
{
    TK_TMPL(start8)(acc, t8, g, TK_TMPL(ALL), offset, P, T);
    TK_TMPL(bytes4)(acc, t8, g * 256, ahead, g, 0, 4, is_e2m1, P, T);
}

STEP8(q4)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(group8_of4)(&acc, t8, g, ahead, 8, false, P, T);
    for (int p = 0; p < P; p++)
        TK_TMPL(add8)(sum[p], &acc, p, v_f16(SCALES8(p) + g * 32), t8, g, T);
}

STEP8(q4m)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(group8_of4)(&acc, t8, g, ahead, 0, false, P, T);
    for (int p = 0; p < P; p++) {
        TK_TMPL(add8)(sum[p], &acc, p, v_f16(SCALES8(p) + g * 64), t8, g, T);
        TK_TMPL(add_min8)(sum[p], v_f16(SCALES8(p) + g * 64 + 32), t8, g, T);
    }
}

STEP8(q4k)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(group8_of4)(&acc, t8, g, ahead, 0, false, P, T);
    for (int p = 0; p < P; p++) {
        TK_TMPL(affine) d = TK_TMPL(q4k_scales)(SCALES8(p), g);
        TK_TMPL(add8)(sum[p], &acc, p, d.scale, t8, g, T);
        TK_TMPL(add_min8)(sum[p], d.min, t8, g, T);
    }
}

// Sixteen columns of six bits of panel p as four registers of bytes.
TK_INLINE void TK_TMPL(unpack6)(const uint8_t *u, TK_TMPL(ahead) ahead, w16 bytes[4][2],
                                const int p)
{
    w16 a = TK_TMPL(unit)(u, ahead), b = TK_TMPL(unit)(u + 64, ahead),
        h = TK_TMPL(unit)(u + 128, ahead);
    w16 low = w_set(0x0F0F0F0F), high = w_set(0x30303030);
    bytes[0][p] = w_or(w_and(a, low), w_and(w_sll(h, 4), high));
    bytes[1][p] = w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high));
    bytes[2][p] = w_or(w_and(b, low), w_and(h, high));
    bytes[3][p] = w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 2), high));
}

TK_INLINE void TK_TMPL(half8_q6k)(const TK_TMPL(tile8) * t8, int64_t g, const int h,
                                  TK_TMPL(ahead) ahead, v16 (*sum)[TK_TMPL(BYTE_TOKS)], const int P,
                                  const int T)
{
    TK_TMPL(acc8) acc;
    w16 bytes[4][2];
    TK_TMPL(start8)(&acc, t8, g, h ? TK_TMPL(SECOND) : TK_TMPL(FIRST), 32, P, T);
    for (int p = 0; p < P; p++) TK_TMPL(unpack6)(t8->u[p] + (2 * g + h) * 192, ahead, bytes, p);
    for (int i = 0; i < 4; i++) TK_TMPL(dots_bytes)(&acc, i, bytes[i], t8, g, 16 * h + 4 * i, P, T);
    for (int p = 0; p < P; p++)
        TK_TMPL(add8)(sum[p], &acc, p, TK_TMPL(q6k_scale)(SCALES8(p), 2 * g + h), t8, g, T);
}

STEP8(q6k)
{
    TK_TMPL(half8_q6k)(t8, g, 0, ahead, sum, P, T);
    TK_TMPL(half8_q6k)(t8, g, 1, ahead, sum, P, T);
}

STEP8(mx4)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(group8_of4)(&acc, t8, g, ahead, 12, true, P, T);
    for (int p = 0; p < P; p++)
        TK_TMPL(add8)(sum[p], &acc, p, v_e8m0_half(SCALES8(p) + g * 16), t8, g, T);
}

TK_INLINE void TK_TMPL(half8_nv4)(const TK_TMPL(tile8) * t8, int64_t g, const int h,
                                  TK_TMPL(ahead) ahead, v16 (*sum)[TK_TMPL(BYTE_TOKS)], const int P,
                                  const int T)
{
    TK_TMPL(acc8) acc;
    TK_TMPL(start8)(&acc, t8, g, h ? TK_TMPL(SECOND) : TK_TMPL(FIRST), 12, P, T);
    TK_TMPL(bytes4)(&acc, t8, (2 * g + h) * 128, ahead, g, 16 * h, 2, true, P, T);
    for (int p = 0; p < P; p++) TK_TMPL(add8)
    (sum[p], &acc, p, TK_TMPL(nv4_scale)(t8->w, SCALES8(p), 2 * g + h), t8, g, T);
}

// The last group may be half a one.
STEP8(nv4)
{
    TK_TMPL(half8_nv4)(t8, g, 0, ahead, sum, P, T);
    if (g * TK_GROUP + TK_GROUP / 2 < t8->w->n_in) TK_TMPL(half8_nv4)(t8, g, 1, ahead, sum, P, T);
}
#undef SCALES8
#undef STEP8

// What a tile asks of memory while it multiplies. The first tile of two panels has them come a little ahead of itself. Those of
// the other tokens find them in the second-level cache, and memory would rest meanwhile: they share out the next two panels,
// each asking for those groups of them that leave the remainder `turn` by n_turn.
typedef struct TK_TMPL(pace) {
    int64_t next; // bytes to the next panels; 0: there are none, or this is a first tile
    int turn, n_turn;
} TK_TMPL(pace);

// tile8_<form>_<P>_<T>: all groups of P panels and T tokens.
#define TILE8(form, P, T)                                                                          \
    static void TK_TMPL(tile8_##form##_##P##_##T)(const TK_TMPL(tile8) * t8, int64_t n_group,      \
                                                  TK_TMPL(pace) pace,                              \
                                                  v16(*sum)[TK_TMPL(BYTE_TOKS)])                   \
    {                                                                                              \
        v16 s[P][TK_TMPL(BYTE_TOKS)];                                                              \
        for (int p = 0; p < P; p++)                                                                \
            for (int t = 0; t < T; t++) s[p][t] = v_zero();                                        \
        int64_t due = pace.turn;                                                                   \
        for (int64_t g = 0; g < n_group; g++) {                                                    \
            TK_TMPL(ahead) ahead = {0, 0};                                                         \
            if (pace.n_turn == 0)                                                                  \
                ahead =                                                                            \
                    TK_TMPL(look_ahead)(g, n_group, TK_TMPL(UNITS_##form), TK_TMPL(SCALES_##form), \
                                        t8->w->panel_bytes, P, TK_TMPL(BYTE_AHEAD));               \
            else if (g == due) {                                                                   \
                ahead = (TK_TMPL(ahead)){pace.next, pace.next};                                    \
                due += pace.n_turn;                                                                \
            }                                                                                      \
            for (int p = 0; p < P; p++)                                                            \
                _mm_prefetch((const char *)t8->u[p] + t8->w->scale_off +                           \
                                 g * TK_TMPL(SCALES_##form) + ahead.scale,                         \
                             _MM_HINT_T1);                                                         \
            TK_TMPL(step8_##form)(t8, g, ahead, s, P, T);                                          \
        }                                                                                          \
        for (int p = 0; p < P; p++)                                                                \
            for (int t = 0; t < T; t++) sum[p][t] = s[p][t];                                       \
    }

// more8_<form>_<P>: group g of P panels and one token.
#define MORE8(form, P)                                                                             \
    static void TK_TMPL(more8_##form##_##P)(const TK_TMPL(tile8) * t8, int64_t g,                  \
                                            v16(*sum)[TK_TMPL(BYTE_TOKS)])                         \
    {                                                                                              \
        TK_TMPL(step8_##form)(t8, g, (TK_TMPL(ahead)){0, 0}, sum, P, 1);                           \
    }

typedef void (*TK_TMPL(tile8_fn))(const TK_TMPL(tile8) *, int64_t, TK_TMPL(pace),
                                  v16 (*)[TK_TMPL(BYTE_TOKS)]);
typedef void (*TK_TMPL(more8_fn))(const TK_TMPL(tile8) *, int64_t, v16 (*)[TK_TMPL(BYTE_TOKS)]);

// Of a form: tiles by [panels - 1][tokens - 1], and single groups.
typedef struct TK_TMPL(form8) {
    TK_TMPL(tile8_fn) tile[2][TK_TMPL(BYTE_TOKS)];
    TK_TMPL(more8_fn) more[2];
} TK_TMPL(form8);

// sum += what the second eight bits of row `tok` add
TK_INLINE void TK_TMPL(add_more8)(const tk_act *x, int64_t tok, TK_TMPL(tile8) t8,
                                  TK_TMPL(more8_fn) more, v16 (*sum)[TK_TMPL(BYTE_TOKS)])
{
    const int32_t *of = x->more + tok * tk_row8_more(x->n_group);
    const tk_group8 *row = x->b + tok * tk_row8(x->n_group);
    for (int64_t i = 0; i < of[0]; i++) {
        int64_t g = of[1 + i];
        t8.x[0] = row + (x->n_group + i - g); // so that its group g is the second one
        more(&t8, g, sum);
    }
}

// Of tile i_tile of n_tile over panels p .. p + P of n_panel. The first panels' first tile is a stream; later panels are
// there already, and all of their tiles share.
TK_INLINE TK_TMPL(pace)
    TK_TMPL(pace_of)(const tk_packed *w, int p, int P, int n_panel, int i_tile, int n_tile)
{
    int streams = p == 0 || n_tile == 1;
    if (i_tile < streams) return (TK_TMPL(pace)){0, 0, 0};
    bool last = p + P >= n_panel;
    return (TK_TMPL(pace)){last ? 0 : P * (int64_t)w->panel_bytes, i_tile - streams,
                           n_tile - streams};
}

TK_INLINE void TK_TMPL(gemm8)(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x,
                              int n_tok, float *y, int64_t ldy, const TK_TMPL(form8) * form)
{
    for (int p = 0, P; p < n_panel; p += P) {
        P = TK_MIN(2, n_panel - p);
        TK_TMPL(tile8) t8 = {.w = w};
        for (int i = 0; i < P; i++) t8.u[i] = w->data + (size_t)(panel0 + p + i) * w->panel_bytes;
        int n_tile = (n_tok + TK_TMPL(BYTE_TOKS) - 1) / TK_TMPL(BYTE_TOKS);
        for (int tok = 0, i_tile = 0, T; tok < n_tok; tok += T, i_tile++) {
            v16 sum[2][TK_TMPL(BYTE_TOKS)];
            T = TK_MIN((int)TK_TMPL(BYTE_TOKS), n_tok - tok);
            for (int t = 0; t < T; t++) t8.x[t] = x->b + (tok + t) * tk_row8(x->n_group);
            form->tile[P - 1][T - 1](&t8, x->n_group,
                                     TK_TMPL(pace_of)(w, p, P, n_panel, i_tile, n_tile), sum);
            for (int t = 0; t < T; t++) TK_TMPL(add_more8)
            (x, tok + t, t8, form->more[P - 1], (v16(*)[TK_TMPL(BYTE_TOKS)]) & sum[0][t]);
            for (int i = 0; i < P; i++)
                for (int t = 0; t < T; t++) TK_TMPL(store_rows)
            (y + (tok + t) * ldy + (p + i) * TK_PANEL_ROWS, sum[i][t],
             w->n_out - (panel0 + p + i) * TK_PANEL_ROWS);
        }
    }
}

#define GEMM8(form)                                                                                \
    TILE8(form, 1, 1)                                                                              \
    TILE8(form, 1, 2)                                                                              \
    TILE8(form, 1, 3)                                                                              \
    TILE8(form, 1, 4)                                                                              \
    TILE8(form, 2, 1)                                                                              \
    TILE8(form, 2, 2)                                                                              \
    TILE8(form, 2, 3)                                                                              \
    TILE8(form, 2, 4)                                                                              \
    MORE8(form, 1)                                                                                 \
    MORE8(form, 2)                                                                                 \
    static TK_FN_GEMM(TK_TMPL(gemm8_##form))                                                       \
    {                                                                                              \
        static const TK_TMPL(form8)                                                                \
            fns = {{{TK_TMPL(tile8_##form##_1_1), TK_TMPL(tile8_##form##_1_2),                     \
                     TK_TMPL(tile8_##form##_1_3), TK_TMPL(tile8_##form##_1_4)},                    \
                    {TK_TMPL(tile8_##form##_2_1), TK_TMPL(tile8_##form##_2_2),                     \
                     TK_TMPL(tile8_##form##_2_3), TK_TMPL(tile8_##form##_2_4)}},                   \
                   {TK_TMPL(more8_##form##_1), TK_TMPL(more8_##form##_2)}};                        \
        (void)index;                                                                               \
        TK_TMPL(gemm8)(w, panel0, n_panel, x, n_tok, y, ldy, &fns);                                \
    }

GEMM8(q8)
GEMM8(q4)
GEMM8(q4m)
GEMM8(q4k)
GEMM8(q6k)
GEMM8(mx4)
GEMM8(nv4)
#undef GEMM8
#undef MORE8
#undef TILE8

// Group g of a row of n columns.
TK_INLINE void TK_TMPL(quantise_group8)(const float *x, int64_t n, tk_group8 *to)
{
    TK_TMPL(group) g = TK_TMPL(group_of)(x, n, 127);
    int32_t sum[2];
    v_store_bytes(to->q, g.lo, g.hi, sum);
    to->scale = g.scale;
    to->sum = (float)(sum[0] + sum[1]) * g.scale;
    to->minus_all = -(sum[0] + sum[1]);
    to->minus_half = -sum[0];
}

// What the first eight bits of n columns leave.
static void TK_TMPL(rest8)(const float *x, int64_t n, const tk_group8 *g, float rest[TK_GROUP])
{
    for (int i = 0; i < TK_GROUP; i++) {
        int at = tk_group8_column(i);
        rest[at] = at < n ? fmaf(-(float)g->q[i], g->scale, x[at]) : 0;
    }
}

static TK_FN_QUANTISE8(TK_TMPL(quantise8))
{
    int64_t n_group = (n + TK_GROUP - 1) / TK_GROUP;
    float all = 0;
    for (int64_t g = 0; g < n_group; g++) {
        TK_TMPL(quantise_group8)(x + g * TK_GROUP, n - g * TK_GROUP, &to[g]);
        all += to[g].scale;
    }
    float most = TK_MORE8 * (all / (float)n_group);
    int32_t n_more = 0;
    for (int64_t g = 0; g < n_group && n_more < n_group / TK_MORE8; g++) {
        if (!(to[g].scale > most)) continue;
        float rest[TK_GROUP];
        TK_TMPL(rest8)(x + g * TK_GROUP, n - g * TK_GROUP, &to[g], rest);
        TK_TMPL(quantise_group8)(rest, TK_GROUP, &to[n_group + n_more]);
        more[++n_more] = (int32_t)g;
    }
    more[0] = n_more;
}
