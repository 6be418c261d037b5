// SPDX-License-Identifier: MIT
// Sums and exponentials over sixteen lanes. Included after a vec.h; both levels add in the same order, so
// their results are equal bit for bit.
#include <math.h>

static inline float TK_TMPL(sum)(v16 x)
{
    __m256 a = _mm256_add_ps(v_lo(x), v_hi(x));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

static inline float TK_TMPL(most)(v16 x)
{
    __m256 a = _mm256_max_ps(v_lo(x), v_hi(x));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    b = _mm_max_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

// e^x, relative error below 3e-7 for x in [-87, 88]; 0 below, clamped above. Cody-Waite reduction by ln 2 in
// two parts, polynomial of degree 6 (Taylor coefficients: on |r| <= 0.35 its remainder is 1.2e-7).
static inline v16 TK_TMPL(exp)(v16 x)
{
    x = v_min(v_max(x, v_set(-104.0f)), v_set(88.0f));
    v16 n = v_round(v_mul(x, v_set(1.44269504f)));
    v16 r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    v16 p = v_set(1.0f / 5040);
    p = v_fma(p, r, v_set(1.0f / 720));
    p = v_fma(p, r, v_set(1.0f / 120));
    p = v_fma(p, r, v_set(1.0f / 24));
    p = v_fma(p, r, v_set(1.0f / 6));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1));
    p = v_fma(p, r, v_set(1));
    // in two halves, so that results down to the subnormals need no power outside a float's range
    v16 h = v_round(v_mul(n, v_set(0.5f)));
    return v_mul(v_mul(p, v_pow2(h)), v_pow2(v_sub(n, h)));
}
