/* The configuration reader: any file gets an answer, an error says where, and a refused file
 * changes nothing. fuzz-folders: base */
#include "fuzz.h"

typedef struct settings {
    slice listen, certificate, ca;
    bool human;
    uint64_t workers, cache, timeout;
    config_strings hosts;
} settings;

FUZZ(data) {
    settings s, before;
    memset(&s, 0, sizeof(s));
    s.workers = 5;
    s.timeout = 7;
    memcpy(&before, &s, sizeof(s));
    const config_key keys[] = {
        {"listen", CONFIG_STRING, &s.listen, 0, 20, false, NULL},
        {"log.human", CONFIG_BOOL, &s.human, 0, 0, false, NULL},
        {"workers", CONFIG_U64, &s.workers, 1, 64, false, NULL},
        {"cache", CONFIG_SIZE, &s.cache, 4096, 0, false, NULL},
        {"timeout", CONFIG_DURATION, &s.timeout, 0, 3600000, false, NULL},
        {"tls.certificate", CONFIG_STRING, &s.certificate, 0, 0, false, NULL},
        {"tls.client.ca", CONFIG_STRING, &s.ca, 0, 0, false, NULL},
        {"hosts", CONFIG_STRINGS, &s.hosts, 1, 3, false, NULL},
        {0},
    };
    arena *a = arena_new(4096, (size_t)64 << 20);
    err e = config_parse(a, "f", data, keys);
    if (e != OK) {
        MUST(e == ERR_CONFIG);
        MUST(slice_starts(slice_str(err_detail()), S("f:")));
        MUST(memcmp(&s, &before, sizeof(s)) == 0);
    } else {
        MUST(s.workers >= 1 && s.workers <= 64);
        MUST(s.cache == 0 || s.cache >= 4096);
        MUST(s.timeout <= 3600000);
        MUST(s.listen.len <= 20 && s.hosts.count <= 3);
        MUST(slice_find(s.certificate, 0, '\0') == s.certificate.len);
        MUST(slice_utf8_valid(s.certificate) && slice_utf8_valid(s.ca));
    }
    arena_free(a);
}
