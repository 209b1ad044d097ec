/* The status page: GET / of the admin listener, for a person. What is wrong stands first, with what to do; then what is
 * there. It holds no script and loads nothing; it shows counts, and no names but those of witnesses. */
#include "admin/internal.h"

#define COUNTED_MAX  100000 /* containers; more are told as such */
#define ACCOUNTS_MAX 10000

static const char style[] =
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;"
    "border-bottom:1px solid #8886}"
    "th[scope=row]{width:14rem;font-weight:600}"
    ".alarm{border:2px solid #b00020;border-left-width:.75rem;padding:.25rem 1rem;margin:1rem 0}"
    ".notice{border:2px solid #8a6100;border-left-width:.75rem;padding:.25rem 1rem;margin:1rem 0}"
    ".well{border:2px solid #1b6e3c;border-left-width:.75rem;padding:.25rem 1rem;margin:1rem 0}"
    ".wide{overflow-x:auto}";

/* ---- writing ---- */

static void put_number(buf *b, uint64_t v) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) buf_byte(b, ',');
        buf_byte(b, (uint8_t)digits[i]);
    }
}

static void put_bytes(buf *b, uint64_t v) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double x = (double)v;
    size_t i = 0;
    for (; x >= 1024 && i + 1 < ARRAY_LEN(units); i++) x /= 1024;
    buf_fmt(b, i == 0 ? "%.0f %s" : "%.1f %s", x, units[i]);
}

static void put_time(buf *b, int64_t us) {
    char room[64];
    buf t;
    buf_init_fixed(&t, room, sizeof room);
    time_put_iso_s(&t, us);
    buf_fmt(b, "<time>%.*s</time>", SLICE_ARG(buf_slice(&t)));
}

static void put_time_s(buf *b, uint64_t s) {
    if (s == 0)
        buf_str(b, "not yet");
    else
        put_time(b, (int64_t)s * 1000000);
}

static void put_span(buf *b, int64_t us) {
    const unsigned long long s = us > 0 ? (unsigned long long)us / 1000000 : 0;
    if (s >= 86400)
        buf_fmt(b, "%llu d %llu h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        buf_fmt(b, "%llu h %llu min", s / 3600, s % 3600 / 60);
    else
        buf_fmt(b, "%llu min %llu s", s / 60, s % 60);
}

static void open_table(buf *b, const char *title) {
    buf_fmt(b, "<section><h2>%s</h2>\n<table>\n", title);
}

static void close_table(buf *b) {
    buf_str(b, "</table></section>\n");
}

static void open_row(buf *b, const char *name) {
    buf_fmt(b, "<tr><th scope=\"row\">%s</th><td>", name);
}

static void close_row(buf *b) {
    buf_str(b, "</td></tr>\n");
}

static void number_row(buf *b, const char *name, uint64_t v) {
    open_row(b, name);
    put_number(b, v);
    close_row(b);
}

static void bytes_row(buf *b, const char *name, uint64_t v) {
    open_row(b, name);
    put_bytes(b, v);
    close_row(b);
}

static void text_row(buf *b, const char *name, const char *text) {
    open_row(b, name);
    xml_put(b, slice_str(text));
    close_row(b);
}

/* ---- what is wrong ---- */

static void put_alarms(buf *b, const admin_alarm *list, size_t n) {
    if (n == 0) {
        buf_str(b, "<p class=\"well\">All is well: no alarms.</p>\n");
        return;
    }
    buf_str(b, "<section aria-label=\"Alarms\">\n");
    for (size_t i = 0; i < n; i++) {
        buf_fmt(b, "<div class=\"%s\"><p><strong>%s:</strong> ", list[i].grave ? "alarm" : "notice",
                list[i].grave ? "Alarm" : "Notice");
        xml_put(b, list[i].what);
        buf_str(b, "</p>\n<p>");
        xml_put(b, list[i].action);
        buf_str(b, "</p></div>\n");
    }
    buf_str(b, "</section>\n");
}

/* ---- what is there ---- */

typedef struct census {
    arena *a;
    slice names[ACCOUNTS_MAX];
    size_t accounts;
    uint64_t containers;
} census;

static void count_account(void *ctx, const store_account *account) {
    census *c = ctx;
    if (c->accounts < ACCOUNTS_MAX) c->names[c->accounts++] = arena_dup(c->a, account->name);
}

static err count_container(void *ctx, const store_container *container) {
    census *c = ctx;
    (void)container;
    return ++c->containers >= COUNTED_MAX ? ERR_CANCELLED : OK;
}

static err count_in(store *s, census *c, slice name) {
    const store_account *account;
    slice next = SLICE_NONE;
    const store_call at = {.arena = c->a};
    err e = store_account_get(s, at, name, &account);
    if (e != OK) return e == ERR_NOT_FOUND ? OK : e;
    for (;;) {
        const store_container_list q = {.max = STORE_LIST_MAX, .marker = next};
        next = SLICE_NONE;
        e = store_container_scan(s, at, account, &q, count_container, c, &next);
        if (e != OK || next.len == 0) break;
    }
    store_account_unref(account);
    return e;
}

static void put_store(buf *b, const admin_state *st, arena *a) {
    census *c = arena_alloc(a, sizeof *c);
    engine_stats e = {0};
    store_stats s = {0};
    *c = (census){.a = a};
    engine_get_stats(store_engine(st->store), &e);
    store_get_stats(st->store, &s);
    err failed = store_account_list(st->store, (store_call){.arena = a}, count_account, c);
    for (size_t i = 0; failed == OK && i < c->accounts; i++)
        failed = count_in(st->store, c, c->names[i]);
    open_table(b, "Store");
    text_row(b, "State", e.failed ? "read-only after a failed write" : "takes reads and changes");
    number_row(b, "Accounts", c->accounts);
    open_row(b, "Containers");
    put_number(b, c->containers);
    if (failed == ERR_CANCELLED) buf_str(b, " or more");
    if (failed != OK && failed != ERR_CANCELLED) buf_str(b, ", as far as they could be counted");
    close_row(b);
    bytes_row(b, "Content, sealed", e.stream_bytes_live);
    bytes_row(b, "Content, on disk", e.stream_bytes_disk);
    bytes_row(b, "Rows, on disk", e.row_bytes_disk);
    number_row(b, "Changes committed", e.commits);
    number_row(b, "Waiting to be given back", s.garbage_pending);
    close_table(b);
}

static void put_scrub(buf *b, const admin_state *st) {
    upkeep_stats u;
    open_table(b, "Verification of what is stored");
    if (!st->upkeep) {
        text_row(b, "State", "not running (scrub_rate is 0, or development mode)");
        close_table(b);
        return;
    }
    upkeep_get_stats(st->upkeep, &u);
    const bool running = u.begun_us != STORE_TIME_NONE;
    open_row(b, "State");
    buf_str(b, running ? "a pass is under way, since " : "between two passes");
    if (running) put_time(b, u.begun_us);
    close_row(b);
    open_row(b, "Verified in it");
    put_number(b, u.blobs);
    buf_str(b, " blobs, ");
    put_bytes(b, u.bytes);
    close_row(b);
    number_row(b, "Damaged", u.damaged);
    open_row(b, "Last pass ended");
    if (u.ended_us == STORE_TIME_NONE)
        buf_str(b, "not yet");
    else
        put_time(b, u.ended_us);
    close_row(b);
    close_table(b);
}

static void put_record(buf *b, const admin_state *st) {
    engine_stats e = {0};
    audit_builder_stats log = {0};
    engine_get_stats(store_engine(st->store), &e);
    open_table(b, "Record of accesses");
    number_row(b, "Entries", e.log_next);
    if (!st->records) text_row(b, "State", "no record is kept (record: false)");
    if (st->builder) {
        audit_builder_get_stats(st->builder, &log);
        number_row(b, "Published", log.published);
        number_row(b, "Not published yet",
                   e.log_next > log.published ? e.log_next - log.published : 0);
        open_row(b, "Last checkpoint");
        put_time_s(b, (uint64_t)admin_published_s(st));
        close_row(b);
        text_row(b, "Publishing", log.stopped ? "stopped" : "runs");
    }
    close_table(b);
}

static const char *says(const audit_witness_stats *w) {
    if (w->refuses) return "refuses";
    if (w->fails) return "does not cosign";
    return w->cosigned_s > 0 ? "cosigns" : "not asked yet";
}

static void put_witness(buf *b, const audit_witness_stats *w) {
    buf_str(b, "<tr><th scope=\"row\">");
    xml_put(b, w->name);
    buf_fmt(b, "</th><td>%s</td><td>", says(w));
    put_number(b, w->size);
    buf_str(b, "</td><td>");
    put_time_s(b, w->cosigned_s);
    buf_str(b, "</td><td>");
    xml_put(b, w->answer[0] ? slice_str(w->answer) : S("none yet"));
    if (w->answered_s > 0) {
        buf_str(b, " (");
        put_time_s(b, w->answered_s);
        buf_str(b, ")");
    }
    buf_str(b, "</td></tr>\n");
}

static void put_witnesses(buf *b, const admin_state *st) {
    audit_witness_stats w[AUDIT_POLICY_MAX];
    buf_str(b, "<section><h2>Witnesses</h2>\n");
    if (!st->witnesses) {
        buf_str(b, "<p>None: nobody outside cosigns the record. <code>audit.witnesses</code> names "
                   "them.</p></section>\n");
        return;
    }
    const size_t n = audit_witnesses_stats(st->witnesses, w);
    buf_str(b, "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Witness</th><th "
               "scope=\"col\">State</th><th scope=\"col\">Entries</th><th scope=\"col\">Cosigned "
               "last</th><th scope=\"col\">Last answer</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) put_witness(b, &w[i]);
    buf_str(b, "</tbody></table></div></section>\n");
}

static void put_program(buf *b, const admin_state *st) {
    const int64_t now = clock_wall_us();
    open_table(b, "Program");
    text_row(b, "Version", st->version ? st->version : "unknown");
    if (st->started_us > 0) {
        open_row(b, "Started");
        put_time(b, st->started_us);
        buf_str(b, " (up ");
        put_span(b, now - st->started_us);
        buf_str(b, ")");
        close_row(b);
    }
    text_row(b, "Requests",
             atomic_load(&st->ready) ? "served" : "not served: starting or stopping");
    open_row(b, "This page made");
    put_time(b, now);
    close_row(b);
    close_table(b);
}

static void put_page(buf *b, const admin_state *st, arena *a) {
    admin_alarm alarm[ADMIN_ALARMS_MAX];
    const size_t n = admin_alarms(st, a, alarm);
    size_t grave = 0;
    while (grave < n && alarm[grave].grave) grave++;
    buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
               "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    if (grave > 0) buf_fmt(b, "%zu alarm%s – ", grave, grave == 1 ? "" : "s");
    buf_fmt(b,
            "Strongroom</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n"
            "<h1>Strongroom</h1>\n",
            style);
    put_alarms(b, alarm, n);
    put_program(b, st);
    put_store(b, st, a);
    put_scrub(b, st);
    put_record(b, st);
    put_witnesses(b, st);
    buf_str(b, "</main>\n</body>\n</html>\n");
}

/* Nothing but this page's own style, known by its hash. */
static slice policy_of(arena *a) {
    uint8_t digest[CRYPTO_SHA256_LEN];
    buf b;
    crypto_sha256(slice_of(style, sizeof style - 1), digest);
    buf_init_arena(&b, a, 256);
    buf_str(&b, "default-src 'none'; style-src 'sha256-");
    base64_put(&b, slice_of(digest, sizeof digest));
    buf_str(&b, "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    return buf_slice(&b);
}

err admin_status(ops_request *r, ops_response *w) {
    buf b;
    if (r->nowait) return ERR_WOULD_BLOCK;
    buf_init_arena(&b, r->arena, OPS_RESPONSE_MAX);
    put_page(&b, r->server->context, r->arena);
    TRY(buf_check(&b));
    w->status = 200;
    ops_set(w, "Content-Type", S("text/html; charset=utf-8"));
    ops_set(w, "Content-Security-Policy", policy_of(r->arena));
    ops_set(w, "X-Content-Type-Options", S("nosniff"));
    ops_set(w, "Referrer-Policy", S("no-referrer"));
    ops_body(w, buf_slice(&b));
    return OK;
}
