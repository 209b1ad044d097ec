/* Policies: the specification's example, what is refused and where, and which cosignatures are enough. */
#include <stdio.h>

#include "audit/audit.h"
#include "base_test.h"

typedef struct cosigner {
    char name[32];
    uint8_t seed[CRYPTO_ED25519_LEN];
    audit_verifier key;
    char vkey[128];
} cosigner;

/* Cosigners 0 to 7, always the same; and one log. */
static cosigner who[8], log_key;

static void make_key(cosigner *c, const char *name, uint8_t type, uint8_t seed) {
    buf raw, text;
    uint8_t room[64], digest[CRYPTO_SHA256_LEN];
    memset(c->seed, seed, sizeof c->seed);
    snprintf(c->name, sizeof c->name, "%s", name);
    buf_init_fixed(&raw, room, sizeof room);
    buf_byte(&raw, type);
    crypto_ed25519_public(c->seed, c->key.key);
    buf_put(&raw, slice_of(c->key.key, sizeof c->key.key));
    const slice parts[] = {slice_str(c->name), S("\n"), buf_slice(&raw)};
    crypto_sha256_parts(parts, ARRAY_LEN(parts), digest);
    buf_init_fixed(&text, c->vkey, sizeof c->vkey - 1);
    buf_fmt(&text, "%s+", c->name);
    hex_put(&text, slice_of(digest, 4));
    buf_byte(&text, '+');
    base64_put(&text, buf_slice(&raw));
    c->vkey[text.len] = '\0';
    assert_int_equal(audit_verifier_parse(slice_str(c->vkey), &c->key), OK);
}

static int make_keys(void **state) {
    (void)state;
    for (uint8_t i = 0; i < ARRAY_LEN(who); i++) {
        char name[32];
        snprintf(name, sizeof name, "witness.example/%d", i);
        make_key(&who[i], name, AUDIT_COSIGNATURE_V1, (uint8_t)(i + 1));
    }
    make_key(&log_key, "example.com/log", AUDIT_ED25519, 99);
    return 0;
}

/* A policy with $0 … $7 for the witnesses' keys and $L for the log's. */
static slice policy_text(arena *a, const char *with) {
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (const char *p = with; *p; p++) {
        if (*p != '$') {
            buf_byte(&b, (uint8_t)*p);
            continue;
        }
        p++;
        buf_str(&b, *p == 'L' ? log_key.vkey : who[*p - '0'].vkey);
    }
    return buf_slice(&b);
}

#define EXAMPLE                                                                                    \
    "log $L\n\n# the example of https://c2sp.org/tlog-policy\n"                                    \
    "witness X1 $0\nwitness X2 $1\nwitness X3 $2\ngroup X-witnesses 2 X1 X2 X3\n\n"                \
    "witness Y1 $3\nwitness Y2 $4\nwitness Y3 $5\ngroup Y-witnesses any Y1 Y2 Y3\n\n"              \
    "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"

static unsigned count(unsigned set) {
    unsigned n = 0;
    for (; set; set &= set - 1) n++;
    return n;
}

static void all_sets_of_the_example_are_judged(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    audit_policy p;
    assert_int_equal(audit_policy_parse(policy_text(a, EXAMPLE), &p), OK);
    assert_int_equal(p.logs, 1);
    assert_int_equal(p.witnesses, 6);
    assert_int_equal(p.groups, 3);
    for (unsigned set = 0; set < 64; set++) {
        bool cosigned[AUDIT_POLICY_MAX] = {false};
        for (unsigned i = 0; i < 6; i++) cosigned[i] = set >> i & 1;
        const bool wanted = count(set & 7) >= 2 && count(set >> 3) >= 1;
        assert_int_equal(audit_policy_met(&p, cosigned), wanted);
    }
    arena_free(a);
}

static void what_the_specification_allows_is_taken(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned witnesses;
    } good[] = {{"quorum none\n", 0},
                {"quorum none", 0},
                {" \t witness\tw  $0 \t https://w.example/submit/ \n\tquorum w \n", 1},
                {"witness \xe2\x84\xaa $0\nwitness K $1\ngroup g 1 \xe2\x84\xaa K\nquorum g\n", 2},
                {"witness w $0\nquorum w\nwitness later $1\n", 2},
                {"  # quorum x\nlog $L https://log.example\nquorum none\n", 0}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        arena *a = arena_new(4096, 0);
        audit_policy p;
        assert_int_equal(audit_policy_parse(policy_text(a, good[i].text), &p), OK);
        assert_int_equal(p.witnesses, good[i].witnesses);
        arena_free(a);
    }
}

static void all_else_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "no quorum line"},
        {"witness w $0\n", "no quorum line"},
        {"quorum none\nquorum none\n", "line 2: a second quorum"},
        {"quorum w\nwitness w $0\n", "line 1: no line before this one defines 'w'"},
        {"quorum\n", "line 1: the quorum's name is missing"},
        {"quorum none more\n", "line 1: 'more' is too much"},
        {"witness w\n", "line 1: the witness' key is missing"},
        {"witness w $L\n", "line 1: a witness' key is of type 0x04"},
        {"log $0\n", "line 1: a log's key is of type 0x01"},
        {"log $L\n\nlog $L\n", "line 3: the same log key again"},
        {"witness a $0\nwitness b $0\n", "line 2: the same witness key again"},
        {"witness a $0\nwitness a $1\n", "line 2: the name 'a' is taken"},
        {"witness none $0\n", "line 1: the name 'none' is taken"},
        {"witness w $0 url more\n", "'more' is too much"},
        {"witness w nonsense\n", "line 1: a verifier key reads"},
        {"witness a $0\ngroup g all\n", "line 2: a group has members"},
        {"witness a $0\ngroup g 2 a\n", "line 2: a group of 1 cannot need 2"},
        {"witness a $0\ngroup g 0 a\n", "cannot need 0"},
        {"witness a $0\ngroup g 01 a\n", "'01' is no size"},
        {"witness a $0\ngroup g some a\n", "'some' is no size"},
        {"witness a $0\ngroup a any a\n", "the name 'a' is taken"},
        {"group g any g\n", "no line before this one defines 'g'"},
        {"witness a $0\ngroup g any none\n", "no line before this one defines 'none'"},
        {"witness a $0\ngroup g any a a\n", "line 2: 'a' is a member of a group already"},
        {"witness a $0\ngroup g any a\ngroup h any a\n", "line 3: 'a' is a member of a group"},
        {"witness a $0\r\n", "line 1: it holds control characters"},
        {"signer a $0\n", "line 1: 'signer' is none of"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        arena *a = arena_new(4096, 0);
        audit_policy p;
        assert_int_equal(audit_policy_parse(policy_text(a, bad[i].text), &p), ERR_INVALID_INPUT);
        if (!strstr(err_detail(), bad[i].says)) fail_msg("%s: %s", bad[i].text, err_detail());
        arena_free(a);
    }
}

static void as_many_as_are_said_fit(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    audit_policy p;
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (int i = 0; i <= AUDIT_POLICY_MAX; i++) {
        cosigner c = {0};
        make_key(&c, "w.example/w", AUDIT_COSIGNATURE_V1, (uint8_t)(100 + i));
        if (i == AUDIT_POLICY_MAX) {
            slice fits = arena_fmt(a, "%.*squorum w0\n", SLICE_ARG(buf_slice(&b)));
            assert_int_equal(audit_policy_parse(fits, &p), OK);
        }
        buf_fmt(&b, "witness w%d %s\n", i, c.vkey);
    }
    assert_int_equal(audit_policy_parse(buf_slice(&b), &p), ERR_INVALID_INPUT);
    arena_free(a);
}

/* ---- cosignatures ---- */

static void cosign(buf *note, slice text, const cosigner *c, uint64_t seconds) {
    uint8_t raw[4 + 8 + CRYPTO_ED25519_SIGNATURE_LEN];
    buf message;
    buf_init(&message, 4096);
    buf_fmt(&message, "cosignature/v1\ntime %llu\n", (unsigned long long)seconds);
    buf_put(&message, text);
    for (int i = 0; i < 4; i++) raw[i] = (uint8_t)(c->key.id >> (24 - 8 * i));
    for (int i = 0; i < 8; i++) raw[4 + i] = (uint8_t)(seconds >> (56 - 8 * i));
    crypto_ed25519_sign(c->seed, buf_slice(&message), raw + 12);
    buf_fmt(note, "\xe2\x80\x94 %s ", c->name);
    base64_put(note, slice_of(raw, sizeof raw));
    buf_byte(note, '\n');
    buf_done(&message);
}

static void a_note_is_held_to_the_policy(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    audit_policy p;
    audit_note n;
    buf text, note;
    audit_checkpoint c = {.origin = slice_str(log_key.name), .size = 7};
    audit_signer signer = {.name = slice_str(log_key.name)};
    memcpy(signer.seed, log_key.seed, sizeof signer.seed);
    assert_int_equal(audit_policy_parse(policy_text(a, EXAMPLE), &p), OK);
    buf_init_arena(&text, a, 4096);
    buf_init_arena(&note, a, 16 << 10);
    audit_checkpoint_put(&text, &c);
    audit_note_sign(&note, buf_slice(&text), &signer);
    const struct {
        int by;
        err then;
    } steps[] = {{0, ERR_CORRUPT}, {6, ERR_CORRUPT}, {4, ERR_CORRUPT}, {2, OK}, {7, OK}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        cosign(&note, buf_slice(&text), &who[steps[i].by], 1700000000 + i);
        assert_int_equal(audit_note_parse(a, buf_slice(&note), &n), OK);
        assert_int_equal(audit_policy_check(&p, &n), steps[i].then);
    }
    uint64_t when;
    assert_int_equal(audit_note_verify(&n, &who[2].key, &when), OK);
    assert_int_equal(when, 1700000003);
    /* Another policy's logs are not this one, under this name or another. */
    audit_policy q = p;
    q.log[0].name = S("example.com/other");
    assert_int_equal(audit_policy_check(&q, &n), ERR_CORRUPT);
    q = p;
    q.log[0].key[0] ^= 1;
    assert_int_equal(audit_policy_check(&q, &n), ERR_CORRUPT);
    q.log[q.logs++] = p.log[0];
    assert_int_equal(audit_policy_check(&q, &n), OK);
    /* A cosignature of the policy that does not verify spoils it all. */
    cosigner liar = who[1];
    memset(liar.seed, 77, sizeof liar.seed);
    cosign(&note, buf_slice(&text), &liar, 1700000009);
    assert_int_equal(audit_note_parse(a, buf_slice(&note), &n), OK);
    assert_int_equal(audit_policy_check(&p, &n), ERR_CORRUPT);
    arena_free(a);
}

/* "It MUST NOT exceed 2^63 - 1." */
static void a_time_that_cannot_be_is_no_cosignature(void **state) {
    (void)state;
    static const struct {
        uint64_t seconds;
        err then;
    } times[] = {
        {INT64_MAX, OK}, {(uint64_t)INT64_MAX + 1, ERR_CORRUPT}, {UINT64_MAX, ERR_CORRUPT}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        arena *a = arena_new(4096, 0);
        audit_note n;
        buf note;
        buf_init_arena(&note, a, 4096);
        buf_str(&note, "example.com/log\n\n");
        cosign(&note, S("example.com/log\n"), &who[0], times[i].seconds);
        assert_int_equal(audit_note_parse(a, buf_slice(&note), &n), OK);
        assert_int_equal(audit_note_verify(&n, &who[0].key, NULL), times[i].then);
        arena_free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sets_of_the_example_are_judged),
        cmocka_unit_test(what_the_specification_allows_is_taken),
        cmocka_unit_test(all_else_is_refused_with_its_line),
        cmocka_unit_test(as_many_as_are_said_fit),
        cmocka_unit_test(a_note_is_held_to_the_policy),
        cmocka_unit_test(a_time_that_cannot_be_is_no_cosignature),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
