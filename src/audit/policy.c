/* Which witnesses must have cosigned a checkpoint (https://c2sp.org/tlog-policy). */
#include "audit/internal.h"

#define NONE S("none")

/* Items are separated by spaces and tabs only. */
static bool next_item(slice *line, slice *ret) {
    while (line->len > 0 && (line->p[0] == ' ' || line->p[0] == '\t')) *line = slice_skip(*line, 1);
    size_t n = 0;
    while (n < line->len && line->p[n] != ' ' && line->p[n] != '\t') n++;
    *ret = slice_take(*line, n);
    *line = slice_skip(*line, n);
    return n > 0;
}

static err item(slice *line, const char *what, slice *ret) {
    ENSURE(next_item(line, ret), ERR_INVALID_INPUT, "%s is missing", what);
    return OK;
}

static err no_more(slice line) {
    slice more;
    ENSURE(!next_item(&line, &more), ERR_INVALID_INPUT, "'%.*s' is too much",
           SLICE_ARG(slice_take(more, 64)));
    return OK;
}

/* ---- names: of witnesses and groups alike ---- */

/* The number of a name: witnesses from 0 on, groups from AUDIT_POLICY_MAX on. */
static err find_name(const audit_policy *p, slice name, unsigned *ret) {
    for (unsigned i = 0; i < p->witnesses; i++)
        if (slice_eq(p->witness[i].name, name)) return *ret = i, OK;
    for (unsigned i = 0; i < p->groups; i++)
        if (slice_eq(p->group[i].name, name)) return *ret = AUDIT_POLICY_MAX + i, OK;
    return err_fail(ERR_INVALID_INPUT, "no line before this one defines '%.*s'",
                    SLICE_ARG(slice_take(name, 64)));
}

static err new_name(const audit_policy *p, slice name) {
    unsigned at;
    ENSURE(!slice_eq(name, NONE) && find_name(p, name, &at) != OK, ERR_INVALID_INPUT,
           "the name '%.*s' is taken", SLICE_ARG(slice_take(name, 64)));
    return OK;
}

/* ---- lines ---- */

static bool same_key(const audit_verifier *a, const audit_verifier *b) {
    return memcmp(a->key, b->key, sizeof a->key) == 0;
}

static err take_log(audit_policy *p, slice line) {
    slice key, url;
    audit_verifier v;
    TRY(item(&line, "the log's key", &key));
    TRY(audit_verifier_parse(key, &v));
    ENSURE(v.type == AUDIT_ED25519, ERR_INVALID_INPUT, "a log's key is of type 0x01 (Ed25519)");
    ENSURE(p->logs < AUDIT_POLICY_MAX, ERR_INVALID_INPUT, "more than %d logs", AUDIT_POLICY_MAX);
    for (unsigned i = 0; i < p->logs; i++)
        ENSURE(!same_key(&p->log[i], &v), ERR_INVALID_INPUT, "the same log key again");
    if (next_item(&line, &url)) TRY(no_more(line));
    p->log[p->logs++] = v;
    return OK;
}

static err take_witness(audit_policy *p, slice line) {
    slice key;
    audit_policy_witness w = {0};
    TRY(item(&line, "the witness' name", &w.name));
    TRY(item(&line, "the witness' key", &key));
    TRY(new_name(p, w.name));
    TRY(audit_verifier_parse(key, &w.key));
    ENSURE(w.key.type == AUDIT_COSIGNATURE_V1, ERR_INVALID_INPUT,
           "a witness' key is of type 0x04 (timestamped Ed25519 cosignatures)");
    ENSURE(p->witnesses < AUDIT_POLICY_MAX, ERR_INVALID_INPUT, "more than %d witnesses",
           AUDIT_POLICY_MAX);
    for (unsigned i = 0; i < p->witnesses; i++)
        ENSURE(!same_key(&p->witness[i].key, &w.key), ERR_INVALID_INPUT,
               "the same witness key again");
    if (next_item(&line, &w.url)) TRY(no_more(line));
    p->witness[p->witnesses++] = w;
    return OK;
}

static err take_members(audit_policy *p, struct audit_policy_group *g, slice line) {
    slice name;
    while (next_item(&line, &name)) {
        unsigned at;
        TRY(find_name(p, name, &at));
        ENSURE(!p->member[at], ERR_INVALID_INPUT, "'%.*s' is a member of a group already",
               SLICE_ARG(slice_take(name, 64)));
        p->member[at] = true;
        g->member[g->members++] = at;
    }
    ENSURE(g->members > 0, ERR_INVALID_INPUT, "a group has members");
    return OK;
}

static err take_group(audit_policy *p, slice line) {
    slice name, need;
    uint64_t n;
    TRY(item(&line, "the group's name", &name));
    TRY(item(&line, "how many of the group (all, any or a number)", &need));
    TRY(new_name(p, name));
    ENSURE(p->groups < AUDIT_POLICY_MAX, ERR_INVALID_INPUT, "more than %d groups",
           AUDIT_POLICY_MAX);
    struct audit_policy_group *g = &p->group[p->groups];
    *g = (struct audit_policy_group){.name = name};
    TRY(take_members(p, g, line));
    if (slice_eq(need, S("all")))
        n = g->members;
    else if (slice_eq(need, S("any")))
        n = 1;
    else
        TRY(text_number(need, &n));
    ENSURE(n >= 1 && n <= g->members, ERR_INVALID_INPUT,
           "a group of %u cannot need %llu of its members", g->members, (unsigned long long)n);
    g->need = (unsigned)n;
    p->groups++;
    return OK;
}

static err take_quorum(audit_policy *p, slice line) {
    slice name;
    TRY(item(&line, "the quorum's name", &name));
    TRY(no_more(line));
    ENSURE(!p->has_quorum, ERR_INVALID_INPUT, "a second quorum");
    p->has_quorum = true;
    p->demands = !slice_eq(name, NONE);
    return p->demands ? find_name(p, name, &p->quorum) : OK;
}

static err take_line(audit_policy *p, slice line) {
    static const struct {
        const char *word;
        err (*take)(audit_policy *p, slice line);
    } words[] = {{"log", take_log},
                 {"witness", take_witness},
                 {"group", take_group},
                 {"quorum", take_quorum}};
    slice word;
    for (size_t i = 0; i < line.len; i++)
        ENSURE(line.p[i] == '\t' || (line.p[i] >= 0x20 && line.p[i] != 0x7f), ERR_INVALID_INPUT,
               "it holds control characters");
    if (!next_item(&line, &word) || word.p[0] == '#') return OK;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq(word, slice_str(words[i].word))) return words[i].take(p, line);
    return err_fail(ERR_INVALID_INPUT, "'%.*s' is none of log, witness, group and quorum",
                    SLICE_ARG(slice_take(word, 32)));
}

err audit_policy_parse(slice text, audit_policy *ret) {
    slice line;
    *ret = (audit_policy){0};
    for (unsigned n = 1; slice_split(&text, '\n', &line); n++) {
        if (take_line(ret, line) == OK) continue;
        char why[256];
        snprintf(why, sizeof why, "%s", err_detail());
        return err_fail(ERR_INVALID_INPUT, "line %u: %s", n, why);
    }
    ENSURE(ret->has_quorum, ERR_INVALID_INPUT, "it has no quorum line");
    return OK;
}

/* ---- what it demands ---- */

static bool met(const audit_policy *p, const bool cosigned[AUDIT_POLICY_MAX], unsigned at) {
    if (at < AUDIT_POLICY_MAX) return cosigned[at];
    const struct audit_policy_group *g = &p->group[at - AUDIT_POLICY_MAX];
    unsigned n = 0; /* members stand before their groups, so this ends */
    for (unsigned i = 0; i < g->members; i++) n += met(p, cosigned, g->member[i]) ? 1 : 0;
    return n >= g->need;
}

bool audit_policy_met(const audit_policy *p, const bool cosigned[AUDIT_POLICY_MAX]) {
    return !p->demands || met(p, cosigned, p->quorum);
}

/* One of the logs that it lists signed the note, under that log's own name. */
static err check_log(const audit_policy *p, const audit_note *n) {
    audit_checkpoint c;
    if (p->logs == 0) return OK;
    TRY(audit_checkpoint_parse(n->text, &c));
    for (unsigned i = 0; i < p->logs; i++)
        if (slice_eq(p->log[i].name, c.origin) && audit_note_verify(n, &p->log[i], NULL) == OK)
            return OK;
    return err_fail(ERR_CORRUPT, "the checkpoint of '%.*s' is signed by none of the policy's logs",
                    SLICE_ARG(slice_take(c.origin, AUDIT_NAME_MAX)));
}

err audit_policy_check(const audit_policy *p, const audit_note *n) {
    TRY(check_log(p, n));
    bool cosigned[AUDIT_POLICY_MAX] = {false};
    char who[256] = "";
    for (unsigned i = 0; i < p->witnesses; i++) {
        const audit_policy_witness *w = &p->witness[i];
        err e = audit_note_verify(n, &w->key, NULL);
        if (e != ERR_NOT_FOUND) TRY(e);
        cosigned[i] = e == OK;
        if (e != OK) continue;
        const size_t len = strlen(who);
        snprintf(who + len, sizeof who - len, "%s%.*s", len > 0 ? ", " : "",
                 SLICE_ARG(slice_take(w->name, 64)));
    }
    ENSURE(audit_policy_met(p, cosigned), ERR_CORRUPT,
           "the checkpoint is not cosigned by those that the policy demands (%s)",
           *who ? who : "no witness of it has cosigned");
    return OK;
}
