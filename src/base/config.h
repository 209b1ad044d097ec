/* Reads a YAML file against a table of known keys. Unknown keys, wrong types and values out of
 * range are errors with file, line and column, and the nearest known key as a suggestion.
 *
 * A schema is an array of config_key ended by {0}. Nested maps use dotted names
 * ("tls.certificate"), which a file may also write in one piece. Values are written to the
 * addresses given, all of them or, on failure, none; strings come from the arena. Files end at 1
 * MiB. */
#pragma once

#include "base/arena.h"

typedef enum config_type {
    CONFIG_END = 0,
    CONFIG_STRING,   /* slice *, between min and max bytes long */
    CONFIG_BOOL,     /* bool * */
    CONFIG_U64,      /* uint64_t *, between min and max */
    CONFIG_SIZE,     /* uint64_t * bytes; accepts 4096, 64KiB, 512MiB, 2GiB, 1TiB */
    CONFIG_DURATION, /* uint64_t * milliseconds; accepts 0, 500ms, 30s, 5m, 1h, 7d */
    CONFIG_STRINGS,  /* config_strings *, a YAML sequence of strings, at most max entries */
} config_type;

typedef struct config_strings {
    slice *items;
    size_t count;
} config_strings;

typedef struct config_key {
    const char *name;
    config_type type;
    void *value;
    uint64_t min, max; /* both included; a max of 0 is none */
    bool required;
    const char *help; /* one line, printed by `strongroom help config` */
} config_key;

/* ERR_CONFIG with a detail like "strongroom.yaml:12:3: unknown key 'listn'; did you mean
 * 'listen'?". Keys that the file does not set keep their values (the defaults). */
err config_read(arena *a, const char *path, const config_key *keys) CHECKED;
err config_parse(arena *a, const char *name_for_errors, slice text, const config_key *keys) CHECKED;
