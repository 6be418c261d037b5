// SPDX-License-Identifier: MIT
// tokamak COMMAND [MODEL] [options]
#include "cli/cmd.h"

#include "base/status.h"

#include <signal.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const tk_cmd *const commands[] = {
#define X(id) &tk_cmd_##id,
    TK_CMD_MAP(X)
#undef X
};

// How many of the words spell all of name, whose own words are separated by one space; 0 when they do not.
static int words_of(const char *name, int n_word, char **word)
{
    int n = 0;
    while (n < n_word) {
        size_t len = strcspn(name, " ");
        if (strlen(word[n]) != len || memcmp(word[n], name, len) != 0) return 0;
        n++;
        if (name[len] == 0) return n;
        name += len + 1;
    }
    return 0;
}

static const tk_cmd *find(int n_word, char **word, int *n_used)
{
    for (size_t i = 0; i < TK_COUNT(commands); i++)
        if ((*n_used = words_of(commands[i]->name, n_word, word)) > 0) return commands[i];
    return NULL;
}

// Commands in two words share their first, as in `bench kernel`: a group.
static bool in_group(const tk_cmd *c, const char *group)
{
    size_t len = strlen(group);
    assert(c != NULL); // an entry of `commands`
    return strncmp(c->name, group, len) == 0 && c->name[len] == ' ';
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < TK_COUNT(commands); i++)
        if (in_group(commands[i], word)) return true;
    return false;
}

static void print_group(const char *group, FILE *to)
{
    fprintf(to, "usage: tokamak %s COMMAND [options]\n\ncommands:\n", group);
    for (size_t i = 0; i < TK_COUNT(commands); i++)
        if (in_group(commands[i], group))
            fprintf(to, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n`tokamak help %s COMMAND` lists the options of one.\n", group);
}

static void print_overview(FILE *to)
{
    fprintf(to, "usage: tokamak COMMAND [MODEL] [options]\n\n"
                "Runs DeepSeek-class language models straight from their files.\n\ncommands:\n");
    for (size_t i = 0; i < TK_COUNT(commands); i++)
        fprintf(to, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "  %-16s %s\n\n", "help", "explain a command");
    fprintf(to,
            "MODEL is a Hugging Face snapshot folder, a .gguf file, a pulled ORG/NAME, or demo.\n"
            "`tokamak help COMMAND` lists the options of one.\n");
}

static void print_help(const tk_cmd *c, FILE *to)
{
    fprintf(to, "usage: tokamak %s\n\n%s\n", c->synopsis, c->summary);
    if (c->details) fprintf(to, "\n%s\n", c->details);
    fprintf(to, "\noptions:\n");
    tk_opt_print_help(c->opts, to);
}

// Text in roff: a leading dot or quote is not a request, a dash is a minus.
static void roff(const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
        line_start = *text == '\n';
    }
    putchar('\n');
}

// The man page, from the same tables as `--help`.
static void print_man(void)
{
    puts(".TH TOKAMAK 1\n.SH NAME\ntokamak \\- run DeepSeek\\-class language models on CPUs\n.SH "
         "SYNOPSIS\n"
         ".B tokamak\n.I COMMAND\n[MODEL] [options]\n.SH DESCRIPTION\nMODEL is a Hugging Face "
         "snapshot folder, a .gguf "
         "file, a pulled ORG/NAME, or demo.\n.SH COMMANDS");
    for (size_t i = 0; i < TK_COUNT(commands); i++) {
        printf(".SS ");
        roff(commands[i]->synopsis);
        roff(commands[i]->summary);
        if (commands[i]->details) fputs(".PP\n", stdout), roff(commands[i]->details);
        for (const tk_opt *o = commands[i]->opts; o->name; o++) {
            printf(".TP\n.B \\-\\-%s%s%s\n", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
            roff(o->help);
        }
    }
    puts(".SH EXIT STATUS\n0 success, 1 the work failed, 2 wrong usage, 3 bad input, 4 does not "
         "fit, 5 interrupted.\n"
         ".SH ENVIRONMENT\nTOKAMAK_CPU=ref|avx2|avx512|amx: the highest instruction set used. "
         "HF_HOME, HF_HUB_CACHE: where "
         "pulled models are.");
}

static int unknown_command(int n_word, char **word)
{
    if (is_group(word[0]) && n_word < 2) {
        print_group(word[0], stderr);
        return tk_status_exit_code(TK_USAGE);
    }
    char name[128];
    snprintf(name, sizeof name, is_group(word[0]) ? "%s %s" : "%s", word[0],
             n_word > 1 ? word[1] : "");
    const char *names[TK_COUNT(commands) + 1];
    for (size_t i = 0; i < TK_COUNT(commands); i++) names[i] = commands[i]->name;
    names[TK_COUNT(commands)] = NULL;
    const char *near = tk_opt_nearest(name, names);
    fprintf(stderr, "tokamak: unknown command \"%s\"", name);
    if (near) fprintf(stderr, "; did you mean \"%s\"?", near);
    fprintf(stderr, "\nTry: tokamak help\n");
    return tk_status_exit_code(TK_USAGE);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

// A message may hold names from files and servers: what a terminal would obey is shown instead.
static void print_error(const char *msg)
{
    fputs("tokamak: ", stderr);
    for (; *msg; msg++) {
        unsigned char c = (unsigned char)*msg;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            fprintf(stderr, "\\x%02x", c);
        else
            fputc(c, stderr);
    }
    fputc('\n', stderr);
}

// `tokamak help WORDS...`; no words (n_word -1 when nothing at all was given) is the overview.
static int help(int n_word, char **word)
{
    int n_used = 0;
    if (n_word <= 0) {
        print_overview(n_word == 0 ? stdout : stderr);
        return n_word == 0 ? 0 : tk_status_exit_code(TK_USAGE);
    }
    if (strcmp(word[0], "--man") == 0) {
        print_man();
        return 0;
    }
    const tk_cmd *about = find(n_word, word, &n_used);
    if (about) {
        print_help(about, stdout);
        return 0;
    }
    if (n_word > 1 || !is_group(word[0])) return unknown_command(n_word, word);
    print_group(word[0], stdout);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a closed stdout is a write error, reported as one
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 2, argv + 2);
    static char version[] = "version";
    if (strcmp(name, "--version") == 0) argv[1] = version;
    int n_used = 0;
    const tk_cmd *cmd = find(argc - 1, argv + 1, &n_used);
    if (cmd == NULL) {
        if (!is_group(name) || !asks_for_help(argc - 1, argv + 1))
            return unknown_command(argc - 1, argv + 1);
        print_group(name, stdout);
        return 0;
    }
    if (asks_for_help(argc - n_used, argv + n_used)) {
        print_help(cmd, stdout);
        return 0;
    }
    tk_err err = TK_ERR_INIT;
    tk_status st = cmd->run(argc - n_used, argv + n_used, &err);
    if (fflush(stdout) != 0 && st == TK_OK)
        st = tk_fail(&err, TK_FAILED, "cannot write the result");
    if (st != TK_OK) print_error(err.msg[0] ? err.msg : tk_status_text(st));
    return tk_status_exit_code(st);
}
