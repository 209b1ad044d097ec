/* What verifiers read: notes, verifier keys, policies, checkpoints, receipts, paths of tiles, openings, purposes. What is taken is
 * written again the same, and nothing that was made up verifies. fuzz-folders: base crypto engine audit */
#include "audit/audit.h"
#include "fuzz.h"

static const audit_verifier nobody = {.name = {(const uint8_t *)"example.com/log", 15},
                                      .type = AUDIT_ED25519};

static void check_key(slice text) {
    audit_verifier v;
    buf again;
    if (audit_verifier_parse(text, &v) != OK) {
        MUST(*err_detail() != 0);
        return;
    }
    buf_init(&again, 1024);
    audit_verifier_put(&again, &v);
    MUST(slice_eq_nocase(buf_slice(&again), text));
    buf_done(&again);
}

static void check_note(arena *a, slice text) {
    audit_note *n = arena_alloc(a, sizeof *n);
    audit_checkpoint c, back;
    if (audit_note_parse(a, text, n) != OK) return;
    MUST(n->count > 0 && n->count <= AUDIT_SIGNATURES_MAX && slice_ends(n->text, S("\n")));
    MUST(audit_note_verify(n, &nobody, NULL) != OK);
    if (audit_checkpoint_parse(n->text, &c) != OK) return;
    buf again;
    buf_init_arena(&again, a, AUDIT_CHECKPOINT_MAX);
    audit_checkpoint_put(&again, &c);
    MUST(audit_checkpoint_parse(buf_slice(&again), &back) == OK && back.size == c.size &&
         slice_starts(n->text, buf_slice(&again)));
}

static void check_receipt(arena *a, slice text) {
    audit_proof p;
    audit_checkpoint c;
    if (audit_proof_parse(a, text, &p) != OK) return;
    MUST(p.count <= AUDIT_PROOF_HASHES);
    MUST(audit_proof_check(a, &p, p.entry, &nobody, &c) != OK);
}

static void check_tile(slice path) {
    audit_tile t;
    uint8_t room[AUDIT_PATH_MAX + 64];
    buf again;
    if (audit_tile_parse(path, &t) != OK) return;
    MUST(t.width >= 1 && t.width <= AUDIT_TILE_WIDTH);
    buf_init_fixed(&again, room, sizeof room);
    audit_tile_path(&again, &t);
    MUST(slice_eq(buf_slice(&again), path) && slice_find_slice(path, 0, S("..")) == path.len);
}

static void check_policy(slice text) {
    audit_policy p;
    bool nobody_signed[AUDIT_POLICY_MAX] = {false}, all[AUDIT_POLICY_MAX];
    if (audit_policy_parse(text, &p) != OK) return;
    memset(all, true, sizeof all);
    MUST(audit_policy_met(&p, all) && audit_policy_met(&p, nobody_signed) == !p.demands);
}

static void check_opening(slice in) {
    audit_opening o, back;
    buf again;
    if (audit_opening_get(in, &o) != OK) return;
    buf_init(&again, 1 << 20);
    audit_opening_put(&again, &o);
    if (!again.failed)
        MUST(audit_opening_get(buf_slice(&again), &back) == OK && slice_eq(o.blob, back.blob));
    buf_done(&again);
}

FUZZ(data) {
    arena *a = arena_new(64 << 10, (size_t)64 << 20);
    slice code, reason;
    check_key(data);
    check_policy(data);
    check_note(a, data);
    check_receipt(a, data);
    check_tile(data);
    check_opening(data);
    if (audit_purpose_parse(data, &code, &reason) == OK)
        MUST(code.len >= 1 && code.len <= AUDIT_PURPOSE_MAX && reason.len <= AUDIT_REASON_MAX);
    arena_free(a);
}
