/* Asking witnesses to cosign checkpoints (https://c2sp.org/tlog-witness): one thread each, so that a slow one holds up
 * none of the others.
 *
 *   IDLE --a checkpoint it has not seen--> ASKING --200, its cosignature verifies--> IDLE
 *     ^                                       | --409 with another size of ours--> ASKING, from that size on; once
 *     |                                       | --409 with more than this checkpoint, not more than we hold--> IDLE,
 *     |                                       |    until there is a checkpoint of that size (the folder is made again)
 *     |                                       | --no answer, or any other--> PAUSED
 *     |                                       \ --409 with more than we hold, 422--> PAUSED, and it refuses: an alarm
 *     \--the pause is over (1 s, twice as long each time, at most a minute)-- PAUSED
 *
 * What a witness has cosigned is asked of it when it is not known: a first question from size 0 is answered with 409.
 * Nothing is kept over a restart. */
#include <pthread.h>

#include "audit/internal.h"
#include "fetch/fetch.h"

#define ANSWER_MAX      (64u << 10)
#define ASK_TOTAL_S     10
#define PAUSE_FIRST_US  1000000
#define PAUSE_LONG_US   60000000
#define GRACE_US        250000  /* for the others, once the policy is met */
#define HURRIED_WAIT_US 2000000 /* of the last collect before a stop */
#define WHY_MAX         256

typedef struct witness {
    audit_witnesses *all;
    const audit_policy_witness *what;
    pthread_t thread;
    char *url;           /* …/add-checkpoint; NULL: it has none, and no thread */
    fetch_line *line_to; /* its thread's */
    uint64_t round;      /* the last one that it has settled: cosigned, or failed at */
    bool cosigned;       /* in that round */
    buf line;            /* its cosignature then */
    uint64_t size;       /* what it has cosigned, as far as is known */
    int64_t again_us, pause_us;
    int told_status; /* of the failure that was told last */
    audit_witness_stats stats;
} witness;

struct audit_witnesses {
    char *text; /* the policy, which points into it */
    size_t text_len;
    audit_policy policy;
    char *folder;
    fetch *fetch;
    pthread_mutex_t lock; /* of what follows, and of the witnesses' states */
    pthread_cond_t asked, answered;
    bool stop, hurry;
    uint64_t round; /* counts collects; 0: none yet */
    uint64_t size;  /* of the checkpoint asked for */
    uint64_t held;  /* entries in the store then */
    buf note;
    witness witness[AUDIT_POLICY_MAX];
};

/* ---- one question ---- */

typedef struct question {
    uint64_t round, size, held, old_size;
    slice note; /* in the arena */
    arena *a;
    int status; /* that it was answered with; 0: not at all */
} question;

static err put_question(const witness *w, const question *q, buf *out) {
    const audit_source s = audit_folder(w->all->folder);
    audit_hash proof[AUDIT_PROOF_HASHES];
    size_t count = 0;
    if (q->old_size > 0) TRY(audit_prove_growth(&s, q->a, q->old_size, q->size, proof, &count));
    buf_fmt(out, "old %llu\n", (unsigned long long)q->old_size);
    for (size_t i = 0; i < count; i++) {
        base64_put(out, slice_of(proof[i].b, sizeof proof[i].b));
        buf_byte(out, '\n');
    }
    buf_byte(out, '\n');
    buf_put(out, q->note);
    return buf_check(out);
}

static err read_answer(fetch_stream *s, arena *a, slice *ret) {
    uint8_t *p = arena_alloc(a, ANSWER_MAX + 1);
    size_t at = 0, n;
    do {
        TRY(fetch_read(s, p + at, ANSWER_MAX + 1 - at, &n));
        at += n;
        ENSURE(at <= ANSWER_MAX, ERR_INVALID_INPUT, "it answers with more than %u bytes",
               ANSWER_MAX);
    } while (n > 0);
    *ret = slice_of(p, at);
    return OK;
}

static err post(const witness *w, arena *a, slice body, int *ret_status, slice *ret_answer) {
    const pair headers[] = {{S("Content-Type"), S("text/plain; charset=utf-8")},
                            {S("Expect"), SLICE_NONE}};
    const fetch_ask ask = {.url = slice_str(w->url),
                           .line = w->line_to,
                           .headers = headers,
                           .header_count = ARRAY_LEN(headers),
                           .post = body,
                           .total_s = ASK_TOTAL_S};
    fetch_answer answer;
    fetch_stream *s;
    TRY(fetch_open(w->all->fetch, a, &ask, &answer, &s));
    *ret_status = answer.status;
    err e = read_answer(s, a, ret_answer);
    fetch_close(s);
    return e;
}

/* The line of its answer that is its cosignature of the note: one, for a note has room for few. */
static err take_cosignature(const witness *w, const question *q, slice answer, buf *line) {
    audit_note *n = arena_alloc(q->a, sizeof *n);
    const audit_verifier *key = &w->what->key;
    const slice whole = arena_fmt(q->a, "%.*s%.*s", SLICE_ARG(q->note), SLICE_ARG(answer));
    uint64_t seconds = 0;
    size_t i = 0;
    err e = audit_note_parse(q->a, whole, n);
    if (e == OK) e = audit_note_verify(n, key, &seconds);
    if (e != OK)
        return err_fail(ERR_INVALID_INPUT, "its answer is no cosignature of its key: %s",
                        err_detail());
    ENSURE(seconds > 0, ERR_INVALID_INPUT, "its cosignature says no time");
    while (n->signature[i].id != key->id || !slice_eq(n->signature[i].name, key->name)) i++;
    buf_put(line, n->signature[i].line);
    return buf_check(line);
}

static err told_size(slice answer, uint64_t *ret) {
    slice line = slice_take(answer, slice_find(answer, 0, '\n'));
    ENSURE(line.len < answer.len && text_number(line, ret) == OK, ERR_INVALID_INPUT,
           "it answers 409 without the size that it has cosigned");
    return OK;
}

/* 409: ret_size is what it has cosigned. ERR_CORRUPT: what it says contradicts the log. */
static err ask_once(const witness *w, question *q, buf *line, uint64_t *ret_size,
                    bool *ret_other_size) {
    buf body;
    slice answer;
    *ret_other_size = false;
    q->status = 0;
    buf_init_arena(&body, q->a, AUDIT_CHECKPOINT_MAX + (8u << 10));
    if (put_question(w, q, &body) != OK)
        return err_fail(ERR_IO, "it cannot be asked: %s", err_detail());
    TRY(post(w, q->a, buf_slice(&body), &q->status, &answer));
    const int status = q->status;
    if (status == 200) return take_cosignature(w, q, answer, line);
    ENSURE(status != 422, ERR_CORRUPT,
           "it refuses: the %llu entries that it has cosigned are not the beginning of the %llu "
           "that this server holds. The record was changed, or this is not the store whose record "
           "it was",
           (unsigned long long)q->old_size, (unsigned long long)q->size);
    ENSURE(status != 404, ERR_INVALID_INPUT,
           "it does not know this log: give its operator the key that `strongroom audit key` "
           "prints");
    ENSURE(status != 403, ERR_INVALID_INPUT,
           "it has another key for this log: give its operator the one that `strongroom audit "
           "key` prints");
    ENSURE(status == 409, ERR_INVALID_INPUT, "it answers with status %d", status);
    TRY(told_size(answer, ret_size));
    ENSURE(*ret_size <= q->held, ERR_CORRUPT,
           "it refuses: it has cosigned %llu entries, and this server holds %llu. The store is "
           "older than what it published, as after a backup was restored",
           (unsigned long long)*ret_size, (unsigned long long)q->held);
    *ret_other_size = true;
    return OK;
}

/* ret_size: what the witness has cosigned now; more than was asked for: it did not cosign that. */
static err ask(const witness *w, question *q, buf *line, uint64_t *ret_size) {
    bool other;
    TRY(ask_once(w, q, line, ret_size, &other));
    if (other) {
        if (*ret_size > q->size) return OK;
        q->old_size = *ret_size;
        TRY(ask_once(w, q, line, ret_size, &other));
        ENSURE(!other, ERR_INVALID_INPUT, "it names another size each time it is asked");
    }
    *ret_size = q->size;
    return OK;
}

/* ---- its thread ---- */

static void note_answer(witness *w, bool fails, const char *text) {
    snprintf(w->stats.answer, sizeof w->stats.answer, "%s", text);
    for (char *p = w->stats.answer; *p; p++) /* it may quote what the witness sent */
        if (*p < ' ' || *p > '~') *p = '?';
    w->stats.answered_s = (uint64_t)(clock_wall_us() / 1000000);
    w->stats.fails = fails;
}

/* It has cosigned more than this checkpoint, and not more than the store holds. */
static void note_ahead(witness *w, uint64_t round, uint64_t size) {
    w->size = size;
    w->cosigned = false;
    w->round = round;
    pthread_cond_signal(&w->all->answered);
}

static void note_success(witness *w, const question *q, uint64_t size) {
    if (w->stats.refuses || w->pause_us > 0)
        LOG(LOG_INFO, "audit.witness_cosigns", LF_S("witness", w->what->name));
    w->size = w->stats.size = size;
    w->stats.cosigned_s = (uint64_t)(clock_wall_us() / 1000000);
    w->stats.cosignatures++;
    w->stats.refuses = 0;
    note_answer(w, false, "it cosigned");
    w->cosigned = true;
    w->round = q->round;
    w->again_us = w->pause_us = 0;
}

/* An alarm each time that it fails in another way, not each time that it is asked. */
static void note_failure(witness *w, const question *q, err e) {
    const bool refuses = e == ERR_CORRUPT;
    const bool known = w->pause_us > 0 && w->told_status == q->status;
    w->told_status = q->status;
    if (!known && refuses)
        LOG(LOG_ERROR, "audit.witness_refuses", LF_S("witness", w->what->name),
            LF_C("detail", err_detail()));
    else if (!known)
        LOG(LOG_WARN, "audit.witness_fails", LF_S("witness", w->what->name),
            LF_C("detail", err_detail()));
    w->stats.failures++;
    note_answer(w, true, err_detail());
    w->stats.refuses = refuses;
    w->cosigned = false;
    w->round = q->round;
    w->size = 0; /* ask it again */
    w->pause_us = w->pause_us == 0 ? PAUSE_FIRST_US : w->pause_us * 2;
    if (w->pause_us > PAUSE_LONG_US) w->pause_us = PAUSE_LONG_US;
    w->again_us = clock_mono_us() + w->pause_us;
}

/* Under the lock, which is left while the witness is asked. */
static void ask_now(witness *w) {
    audit_witnesses *all = w->all;
    arena *a = arena_new(64 << 10, 16 << 20);
    question q = {.round = all->round,
                  .size = all->size,
                  .held = all->held,
                  .old_size = w->size,
                  .note = arena_dup(a, buf_slice(&all->note)),
                  .a = a};
    buf line;
    uint64_t size = 0;
    buf_init_arena(&line, a, ANSWER_MAX);
    pthread_mutex_unlock(&all->lock);
    err e = ask(w, &q, &line, &size);
    pthread_mutex_lock(&all->lock);
    if (e == OK && size > q.size) {
        note_ahead(w, q.round, size);
    } else if (e == OK) {
        buf_reset(&w->line);
        buf_put(&w->line, buf_slice(&line));
        note_success(w, &q, size);
    } else if (!all->stop) {
        note_failure(w, &q, e);
    }
    pthread_cond_signal(&all->answered);
    arena_free(a);
}

static void wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t us) {
    const struct timespec until = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)pthread_cond_timedwait(c, lock, &until);
}

static void *run(void *arg) {
    witness *w = arg;
    audit_witnesses *all = w->all;
    pthread_setname_np(pthread_self(), "witness");
    pthread_mutex_lock(&all->lock);
    while (!all->stop) {
        const int64_t now = clock_mono_us();
        if (w->round == all->round)
            pthread_cond_wait(&all->asked, &all->lock);
        else if (w->again_us > now)
            wait_until(&all->asked, &all->lock, w->again_us);
        else if (w->size > all->size)
            note_ahead(w, all->round, w->size);
        else
            ask_now(w);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* ---- a checkpoint ---- */

/* Whether anything is still to come of it; and whether the policy is met already. */
static bool is_open(const audit_witnesses *all, bool *ret_met) {
    bool cosigned[AUDIT_POLICY_MAX] = {false}, open = false;
    const int64_t now = clock_mono_us();
    for (unsigned i = 0; i < all->policy.witnesses; i++) {
        const witness *w = &all->witness[i];
        if (!w->url) continue;
        cosigned[i] = w->round == all->round && w->cosigned;
        open = open || (w->round != all->round && w->again_us <= now);
    }
    *ret_met = audit_policy_met(&all->policy, cosigned);
    return open;
}

bool audit_witnesses_collect(audit_witnesses *all, const audit_checkpoint *c, uint64_t held,
                             slice note, buf *out) {
    bool met, had_met = false;
    pthread_mutex_lock(&all->lock);
    all->round++;
    all->size = c->size;
    all->held = held;
    buf_reset(&all->note);
    buf_put(&all->note, note);
    int64_t until = clock_mono_us() + (all->hurry ? HURRIED_WAIT_US : AUDIT_WITNESS_WAIT_US);
    pthread_cond_broadcast(&all->asked);
    while (is_open(all, &met) && !all->stop && clock_mono_us() < until) {
        const int64_t grace = clock_mono_us() + GRACE_US;
        if (met && !had_met && grace < until) until = grace;
        had_met = met;
        if (all->hurry && until > clock_mono_us() + HURRIED_WAIT_US)
            until = clock_mono_us() + HURRIED_WAIT_US;
        wait_until(&all->answered, &all->lock, until);
    }
    buf_put(out, note);
    for (unsigned i = 0; i < all->policy.witnesses; i++) {
        const witness *w = &all->witness[i];
        if (w->round == all->round && w->cosigned) buf_put(out, buf_slice(&w->line));
    }
    pthread_mutex_unlock(&all->lock);
    return met && buf_check(out) == OK;
}

bool audit_witnesses_demand(const audit_witnesses *all) {
    return all->policy.demands;
}

void audit_witnesses_hurry(audit_witnesses *all) {
    pthread_mutex_lock(&all->lock);
    all->hurry = true;
    pthread_cond_broadcast(&all->answered);
    pthread_mutex_unlock(&all->lock);
}

size_t audit_witnesses_stats(audit_witnesses *all, audit_witness_stats ret[AUDIT_POLICY_MAX]) {
    pthread_mutex_lock(&all->lock);
    for (unsigned i = 0; i < all->policy.witnesses; i++) ret[i] = all->witness[i].stats;
    pthread_mutex_unlock(&all->lock);
    return all->policy.witnesses;
}

/* ---- beginning and end ---- */

static err check_policy(const audit_policy *p, const audit_verifier *log) {
    bool asked[AUDIT_POLICY_MAX] = {false}, known = p->logs == 0;
    for (unsigned i = 0; i < p->logs; i++)
        known = known || (slice_eq(p->log[i].name, log->name) &&
                          memcmp(p->log[i].key, log->key, sizeof log->key) == 0);
    ENSURE(known, ERR_INVALID_INPUT,
           "its logs are others: its line for this server's record is: log, and what "
           "`strongroom audit key` prints");
    for (unsigned i = 0; i < p->witnesses; i++) asked[i] = p->witness[i].url.len > 0;
    ENSURE(audit_policy_met(p, asked), ERR_INVALID_INPUT,
           "its quorum cannot be met by the witnesses that have a URL, and only those are asked");
    return OK;
}

/* /add-checkpoint is put after it. */
static err check_url(const audit_policy_witness *w) {
    const bool web = slice_starts(w->url, S("http://")) || slice_starts(w->url, S("https://"));
    ENSURE(web && slice_find(w->url, 0, '?') == w->url.len &&
               slice_find(w->url, 0, '#') == w->url.len,
           ERR_INVALID_INPUT,
           "the URL of witness '%.*s' is not the beginning of an http:// or https:// URL: '%.*s'",
           SLICE_ARG(slice_take(w->name, 64)), SLICE_ARG(slice_take(w->url, 128)));
    return OK;
}

static err reach(audit_witnesses *all, const char *ca_file) {
    slice prefixes[AUDIT_POLICY_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < all->policy.witnesses; i++) {
        const slice url = all->policy.witness[i].url;
        if (url.len == 0) continue;
        witness *w = &all->witness[i];
        slice base = url;
        TRY(check_url(&all->policy.witness[i]));
        while (slice_ends(base, S("/"))) base.len--;
        MUST(asprintf(&w->url, "%.*s/add-checkpoint", SLICE_ARG(base)) > 0);
        prefixes[n++] = slice_take(slice_str(w->url), base.len + 1);
    }
    /* The operator names them, so they may be anywhere. */
    const fetch_options o = {.private_sources = prefixes, .private_count = n, .ca_file = ca_file};
    return fetch_new(&o, &all->fetch);
}

static err start(audit_witnesses *all, const audit_verifier *log, const char *ca_file) {
    TRY(audit_policy_parse(slice_of(all->text, all->text_len), &all->policy));
    TRY(check_policy(&all->policy, log));
    TRY(reach(all, ca_file));
    for (unsigned i = 0; i < all->policy.witnesses; i++) {
        witness *w = &all->witness[i];
        w->all = all;
        w->what = &all->policy.witness[i];
        w->stats.name = w->what->name;
        buf_init(&w->line, ANSWER_MAX);
        if (!w->url) continue;
        w->line_to = fetch_line_new();
        MUST(pthread_create(&w->thread, NULL, run, w) == 0);
    }
    return OK;
}

err audit_witnesses_start(slice policy_text, const char *folder, const audit_verifier *log,
                          const char *ca_file, audit_witnesses **ret) {
    audit_witnesses *all = calloc(1, sizeof *all);
    pthread_condattr_t attr;
    MUST(all != NULL);
    all->text = malloc(policy_text.len + 1);
    all->text_len = policy_text.len;
    all->folder = strdup(folder);
    MUST(all->text != NULL && all->folder != NULL);
    memcpy(all->text, policy_text.p, policy_text.len);
    buf_init(&all->note, AUDIT_CHECKPOINT_MAX);
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&all->lock, NULL) == 0);
    MUST(pthread_cond_init(&all->asked, &attr) == 0 &&
         pthread_cond_init(&all->answered, &attr) == 0);
    pthread_condattr_destroy(&attr);
    err e = start(all, log, ca_file);
    if (e != OK) {
        audit_witnesses_stop(all);
        return e;
    }
    *ret = all;
    return OK;
}

audit_witnesses *audit_witnesses_stop(audit_witnesses *all) {
    if (!all) return NULL;
    pthread_mutex_lock(&all->lock);
    all->stop = true;
    pthread_cond_broadcast(&all->asked);
    pthread_cond_broadcast(&all->answered);
    pthread_mutex_unlock(&all->lock);
    if (all->fetch) fetch_cancel(all->fetch);
    for (unsigned i = 0; i < AUDIT_POLICY_MAX; i++) {
        witness *w = &all->witness[i];
        if (w->all && w->url) pthread_join(w->thread, NULL);
        fetch_line_free(w->line_to);
        free(w->url);
        buf_done(&w->line);
    }
    fetch_free(all->fetch);
    pthread_cond_destroy(&all->asked);
    pthread_cond_destroy(&all->answered);
    pthread_mutex_destroy(&all->lock);
    buf_done(&all->note);
    free(all->folder);
    free(all->text);
    free(all);
    return NULL;
}
