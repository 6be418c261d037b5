// SPDX-License-Identifier: MIT
// The event simulation against queueing theory's closed forms, and its own invariants.
#include "plan/sim.h"

#include "base/compiler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

// One prompt token takes a millisecond, nothing else takes time.
static double prompt_only(void *ctx, double n_seq, double n_ctx, double n_prompt)
{
    (void)ctx, (void)n_seq, (void)n_ctx;
    return n_prompt * 1e-3;
}

static double fixed_step(void *ctx, double n_seq, double n_ctx, double n_prompt)
{
    (void)ctx, (void)n_ctx;
    return 0.010 + n_prompt * 1e-6 + n_seq * 1e-6;
}

static tk_sim_out run(const tk_sim_in *in)
{
    tk_sim_out o;
    tk_err err = TK_ERR_INIT;
    if (tk_sim(in, &o, &err) != TK_OK) fail_msg("%s", err.msg);
    return o;
}

// Answers of one token, prompts one at a time: a single server. Wait in M/D/1 is rho S / (2 (1 - rho)).
static void a_single_server_waits_as_m_d_1(void **state)
{
    (void)state;
    for (double rho = 0.3; rho < 0.85; rho += 0.25) {
        tk_sim_in in = tk_sim_default();
        in.n_request = 400000;
        in.isl = 100; // 0.1 s
        in.osl = 1;
        in.whole_prompts = true;
        in.rate = rho / 0.1;
        in.step = prompt_only;
        tk_sim_out o = run(&in);
        double wait = rho * 0.1 / (2 * (1 - rho));
        assert_true(fabs(o.ttft.mean - 0.1 - wait) < 0.02 * (0.1 + wait));
        assert_true(fabs(o.busy - rho) < 0.01);
    }
}

// Exponential prompts: M/M/1, whose time in system is S / (1 - rho) and exponential, so p99 = ln(100) times it.
static void a_single_server_waits_as_m_m_1(void **state)
{
    (void)state;
    double rho = 0.6;
    tk_sim_in in = tk_sim_default();
    in.n_request = 400000;
    in.isl = 1000; // 1 s, fine-grained
    in.osl = 1;
    in.exponential = true;
    in.whole_prompts = true;
    in.rate = rho;
    in.step = prompt_only;
    tk_sim_out o = run(&in);
    assert_true(fabs(o.ttft.mean * (1 - rho) - 1) < 0.03);
    assert_true(fabs(o.ttft.p99 / (log(100) / (1 - rho)) - 1) < 0.05);
}

// U users, each with one request in flight: throughput = U / latency (Little).
static void a_closed_loop_obeys_little(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    in.n_request = 20000;
    in.users = 64;
    in.isl = 512;
    in.osl = 128;
    in.osl_cv = 0.5;
    in.step = fixed_step;
    tk_sim_out o = run(&in);
    assert_true(fabs(o.req_per_s * o.latency.mean / 64 - 1) < 0.02);
    assert_int_equal(o.n_preempt, 0);
}

static void a_small_cache_preempts_and_is_never_exceeded(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    in.n_request = 5000;
    in.users = 64;
    in.isl = 100;
    in.osl = 900; // grows far beyond what admission saw
    in.osl_cv = 0.3;
    in.page = 16;
    in.n_block = 1500; // 24 requests' worth
    in.step = fixed_step;
    tk_sim_out o = run(&in);
    assert_true(o.n_preempt > 0);
    assert_true(o.peak_block <= 1500);
    in.n_block = 1 << 20;
    tk_sim_out wide = run(&in);
    assert_int_equal(wide.n_preempt, 0);
    assert_true(wide.latency.mean < o.latency.mean);
    // 64 requests of 500 tokens on average are in the cache: blocks follow lengths exactly
    assert_true(wide.peak_block > 64 * 550 / 16 && wide.peak_block < 64 * 2200 / 16);
}

static void prefix_hits_and_separate_prompts_shorten_the_wait(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    in.n_request = 20000;
    in.rate = 4;
    in.isl = 8000;
    in.osl = 100;
    in.step = prompt_only;
    in.rate = 0.08;
    tk_sim_out plain = run(&in);
    in.hit = 0.5;
    tk_sim_out hit = run(&in);
    assert_true(hit.ttft.mean < 0.55 * plain.ttft.mean);
    in.hit = 0;
    in.n_prefill = 4;
    in.transfer_s = 0.01;
    tk_sim_out pools = run(&in);
    assert_true(pools.ttft.mean < plain.ttft.mean);
    assert_true(fabs(pools.ttft.mean - 8) < 0.3); // four servers hardly queue
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    in.n_request = 5000;
    in.rate = 20;
    in.isl_cv = in.osl_cv = 0.7;
    in.step = fixed_step;
    tk_sim_out a = run(&in), b = run(&in);
    assert_float_equal(a.ttft.p99, b.ttft.p99, 0);
    assert_float_equal(a.span_s, b.span_s, 0);
    in.seed = 2;
    b = run(&in);
    assert_true(a.span_s != b.span_s);
}

static void speculation_halves_the_steps(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    in.n_request = 2000;
    in.users = 16;
    in.isl = 64;
    in.osl = 401;
    in.step = fixed_step;
    tk_sim_out one = run(&in);
    in.tokens_per_step = 2;
    tk_sim_out two = run(&in);
    assert_true(fabs(one.tpot.mean / two.tpot.mean - 2) < 0.02);
    assert_true(fabs((double)one.peak_block / (double)two.peak_block - 1) < 0.15);
}

static void impossible_caches_are_refused(void **state)
{
    (void)state;
    tk_sim_in in = tk_sim_default();
    tk_sim_out o;
    tk_err err = TK_ERR_INIT;
    in.users = 1;
    in.step = fixed_step;
    in.n_block = 10;
    assert_int_equal(tk_sim(&in, &o, &err), TK_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_server_waits_as_m_d_1),
        cmocka_unit_test(a_single_server_waits_as_m_m_1),
        cmocka_unit_test(a_closed_loop_obeys_little),
        cmocka_unit_test(a_small_cache_preempts_and_is_never_exceeded),
        cmocka_unit_test(prefix_hits_and_separate_prompts_shorten_the_wait),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(speculation_halves_the_steps),
        cmocka_unit_test(impossible_caches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
