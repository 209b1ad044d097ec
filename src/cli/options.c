/* Flags: parsing, help, suggestions. */
#include "cli/cli.h"

#define WORD_MAX 40 /* longer words get no suggestion */

static size_t min3(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein distance, one row at a time. */
static size_t distance(slice a, slice b) {
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a.p[i - 1] != b.p[j - 1]));
            diagonal = above;
        }
    }
    return row[b.len];
}

const char *cli_nearest(const char *word, const char *const *names) {
    const char *best = NULL;
    slice w = slice_str(word);
    size_t best_distance = w.len < 4 ? 2 : 3; /* must be below */
    if (w.len > WORD_MAX) return NULL;
    for (; *names; names++) {
        slice n = slice_str(*names);
        if (n.len > WORD_MAX) continue;
        size_t d = distance(w, n);
        if (d < best_distance) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}

static const char *nearest_flag(const cli_spec *spec, const char *word) {
    const char *names[32] = {"help"};
    size_t n = 1;
    for (const cli_flag *f = spec->flags; f && f->name && n + 1 < ARRAY_LEN(names); f++)
        names[n++] = f->name;
    return cli_nearest(word, names);
}

static void print_help(const cli_spec *spec) {
    printf("usage: strongroom %s %s\n\n%s\n", spec->name, spec->synopsis, spec->about);
    if (spec->flags && spec->flags->name) printf("\nflags:\n");
    for (const cli_flag *f = spec->flags; f && f->name; f++) {
        int n = printf("  --%s%s%s", f->name, f->value ? " " : "", f->value ? f->value : "");
        printf("%*s%s\n", n < 24 ? 24 - n : 1, "", f->help);
    }
}

static const cli_flag *find_flag(const cli_spec *spec, slice name) {
    for (const cli_flag *f = spec->flags; f && f->name; f++)
        if (strlen(f->name) == name.len && memcmp(f->name, name.p, name.len) == 0) return f;
    return NULL;
}

static err unknown_flag(const cli_spec *spec, slice name) {
    char word[WORD_MAX + 2];
    snprintf(word, sizeof word, "%.*s", SLICE_ARG(slice_take(name, WORD_MAX + 1)));
    const char *near = nearest_flag(spec, word);
    if (near)
        return err_fail(ERR_USAGE, "unknown flag '--%.*s'; did you mean '--%s'?", SLICE_ARG(name),
                        near);
    return err_fail(ERR_USAGE, "unknown flag '--%.*s'", SLICE_ARG(name));
}

/* One flag at argv[*at]; moves *at on past a value that stands in the next word. */
static err parse_flag(const cli_spec *spec, int argc, char **argv, int *at) {
    slice word = slice_of(argv[*at] + 2, strlen(argv[*at] + 2));
    size_t equals = slice_find(word, 0, '=');
    slice name = slice_take(word, equals);
    const cli_flag *f = find_flag(spec, name);
    if (!f) return unknown_flag(spec, name);
    if (!f->value) {
        ENSURE(equals == word.len, ERR_USAGE, "flag --%s takes no value", f->name);
        *f->on = true;
        return OK;
    }
    ENSURE(*f->text == NULL, ERR_USAGE, "flag --%s is given twice", f->name);
    if (equals < word.len) {
        *f->text = argv[*at] + 2 + equals + 1;
    } else {
        ENSURE(*at + 1 < argc, ERR_USAGE, "flag --%s needs a value: --%s %s", f->name, f->name,
               f->value);
        *f->text = argv[++*at];
    }
    ENSURE(**f->text != '\0', ERR_USAGE, "flag --%s has an empty value", f->name);
    return OK;
}

static err keep_word(const cli_spec *spec, cli_args *to, const char *word) {
    ENSURE(to->count < spec->args_max, ERR_USAGE, "'%s' is one word too many", word);
    to->arg[to->count++] = word;
    return OK;
}

err cli_parse(const cli_spec *spec, int argc, char **argv, cli_args *ret) {
    cli_args args = {0};
    bool flags_over = false;
    MUST(spec->args_max <= CLI_ARGS_MAX);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!flags_over && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(spec);
            args.help = true;
            *ret = args;
            return OK;
        }
        if (!flags_over && strcmp(word, "--") == 0) {
            flags_over = true;
        } else if (!flags_over && strncmp(word, "--", 2) == 0) {
            TRY(parse_flag(spec, argc, argv, &i));
        } else {
            ENSURE(flags_over || word[0] != '-' || word[1] == '\0', ERR_USAGE,
                   "unknown flag '%s'; flags begin with two dashes", word);
            TRY(keep_word(spec, &args, word));
        }
    }
    ENSURE(args.count >= spec->args_min, ERR_USAGE, "something is missing: strongroom %s %s",
           spec->name, spec->synopsis);
    *ret = args;
    return OK;
}

err cli_number(const char *flag, const char *text, uint64_t min, uint64_t max, uint64_t *ret) {
    uint64_t v;
    ENSURE(slice_u64(slice_str(text), &v) == OK && v >= min && v <= max, ERR_USAGE,
           "--%s must be a number from %llu to %llu, not '%s'", flag, (unsigned long long)min,
           (unsigned long long)max, text);
    *ret = v;
    return OK;
}

void cli_print(FILE *to, slice s) {
    for (size_t i = 0; i < s.len; i++)
        (void)putc(s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i], to);
}

int cli_fail(const char *command, err e) {
    const char *detail = err_detail();
    (void)fflush(stdout);
    (void)fputs("strongroom: ", stderr);
    cli_print(stderr, slice_str(*detail ? detail : err_get(e)->message));
    (void)fputs("\n", stderr);
    if (e != ERR_USAGE) return CLI_EXIT_FAILED;
    (void)fprintf(stderr, "Try 'strongroom help%s%s'.\n", *command ? " " : "", command);
    return CLI_EXIT_USAGE;
}
