// SPDX-License-Identifier: MIT
// Asks a model one question through the C API: ask MODEL "QUESTION"
//   cc ask.c $(pkg-config --cflags --libs tokamak) -o ask && ./ask demo "Sort 7, 3, 9."
#include <tokamak.h>

#include <stdio.h>

static int print(void *user, const char *text, size_t len)
{
    (void)user;
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL QUESTION\n", argv[0]);
        return TOKAMAK_USAGE;
    }
    char error[512];
    tokamak_engine *engine;
    tokamak_status st = tokamak_open(argv[1], NULL, &engine, error, sizeof error);
    if (st != TOKAMAK_OK) {
        fprintf(stderr, "%s\n", error);
        return st;
    }
    tokamak_request request = tokamak_request_default();
    request.prompt = argv[2];
    request.max_tokens = 256;
    tokamak_result result;
    st = tokamak_ask(engine, &request, print, NULL, &result, error, sizeof error);
    if (st == TOKAMAK_OK)
        printf("\n[%d tokens, %.1f tok/s]\n", result.output_tokens, result.decode_tok_s);
    else
        fprintf(stderr, "%s\n", error);
    tokamak_close(engine);
    return st;
}
