/* Every operation of the table in every lease situation: no lease id, the right one, a wrong one; a
 * blob or container that is available, leased, breaking, broken, expired. Azure: "Lease Blob" and
 * "Lease Container", outcomes of use attempts. A new row says here what a lease does to it. */
#include "blob_test.h"

#define SEC 1000000ll
#define A   "1f812371-a41d-49e6-b123-f4b542e851c5"
#define B   "2f812371-a41d-49e6-b123-f4b542e851c5"

/* What a lease does to an operation. */
typedef enum effect {
    NOTHING, /* a lease id is not looked at */
    LEASE,   /* it is the lease's own (tests/unit/store_lease_test.c) */
    BESIDES, /* of two blobs, or of another server's: shown where those are (tests/wire) */
    CHECKS,  /* no id is needed; one that is sent must be right */
    KEEPS    /* of a leased one the id is needed */
} effect;

typedef struct recipe {
    const char *name;
    ops_level level;
    effect effect;
    const char *query, *headers, *body; /* that make it succeed; empty where all is in the row */
    const char *kind;                   /* of the blob; NULL: BlockBlob */
} recipe;

#define PAGE_BLOB "PageBlob\nx-ms-blob-content-length: 512"
#define BLOCK_ID  "blockid=MDAwMQ%3D%3D"
#define TAGS      "<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>"

static const recipe recipes[] = {
    {"Get Blob", OPS_BLOB, CHECKS},
    {"Get Blob Properties", OPS_BLOB, CHECKS},
    {"Get Blob Metadata", OPS_BLOB, CHECKS},
    {"Get Blob Tags", OPS_BLOB, CHECKS},
    {"Get Block List", OPS_BLOB, CHECKS},
    {"Put Blob", OPS_BLOB, KEEPS, "", "x-ms-blob-type: BlockBlob\n", "new"},
    {"Put Block", OPS_BLOB, KEEPS, BLOCK_ID, "", "new"},
    {"Put Block List", OPS_BLOB, KEEPS, "", "", "<BlockList></BlockList>"},
    {"Delete Blob", OPS_BLOB, KEEPS},
    {"Set Blob Metadata", OPS_BLOB, KEEPS, "", "x-ms-meta-a: 1\n"},
    {"Set Blob Properties", OPS_BLOB, KEEPS, "", "x-ms-blob-content-type: a/b\n"},
    {"Set Blob Tags", OPS_BLOB, KEEPS, "", "", TAGS},
    {"Set Blob Tier", OPS_BLOB, KEEPS, "", "x-ms-access-tier: Cool\n"},
    {"Set Blob Expiry", OPS_BLOB, KEEPS, "",
     "x-ms-expiry-option: RelativeToNow\nx-ms-expiry-time: 1000000\n"},
    {"Snapshot Blob", OPS_BLOB, CHECKS},
    {"Undelete Blob", OPS_BLOB, NOTHING},
    {"Set Blob Immutability Policy", OPS_BLOB, NOTHING},
    {"Delete Blob Immutability Policy", OPS_BLOB, NOTHING},
    {"Set Blob Legal Hold", OPS_BLOB, NOTHING},
    {"Append Block", OPS_BLOB, KEEPS, "", "", "more", "AppendBlob"},
    {"Append Blob Seal", OPS_BLOB, KEEPS, "", "", "", "AppendBlob"},
    {"Put Page", OPS_BLOB, KEEPS, "", "x-ms-range: bytes=0-511\nx-ms-page-write: clear\n", "",
     PAGE_BLOB},
    {"Get Page Ranges", OPS_BLOB, CHECKS, "", "", "", PAGE_BLOB},
    {"Put Blob From URL", OPS_BLOB, BESIDES},
    {"Put Block From URL", OPS_BLOB, BESIDES},
    {"Append Block From URL", OPS_BLOB, BESIDES},
    {"Put Page From URL", OPS_BLOB, BESIDES},
    {"Copy Blob", OPS_BLOB, BESIDES},
    {"Copy Blob From URL", OPS_BLOB, BESIDES},
    {"Incremental Copy Blob", OPS_BLOB, BESIDES},
    {"Abort Copy Blob", OPS_BLOB, BESIDES},
    {"Lease Blob", OPS_BLOB, LEASE},
    {"Get Account Information", OPS_BLOB, NOTHING},

    {"List Blobs", OPS_CONTAINER, CHECKS},
    {"Get Container Properties", OPS_CONTAINER, CHECKS},
    {"Get Container Metadata", OPS_CONTAINER, CHECKS},
    {"Set Container Metadata", OPS_CONTAINER, CHECKS},
    {"Get Container ACL", OPS_CONTAINER, CHECKS},
    {"Set Container ACL", OPS_CONTAINER, CHECKS},
    {"Delete Container", OPS_CONTAINER, KEEPS},
    {"Lease Container", OPS_CONTAINER, LEASE},
    {"Create Container", OPS_CONTAINER, NOTHING},
    {"Restore Container", OPS_CONTAINER, NOTHING},
    {"Rename Container", OPS_CONTAINER, NOTHING}, /* x-ms-source-lease-id: wire/test_deleted… */
    {"Submit Batch", OPS_CONTAINER, NOTHING},
    {"Find Blobs by Tags", OPS_CONTAINER, NOTHING},
    {"Get Account Information", OPS_CONTAINER, NOTHING},
};

static const recipe *recipe_of(const ops_row *row) {
    for (size_t i = 0; i < ARRAY_LEN(recipes); i++)
        if (recipes[i].level == row->level && strcmp(recipes[i].name, row->name) == 0)
            return &recipes[i];
    print_error("say in the table of this file what a lease does to '%s'\n", row->name);
    fail();
    return NULL;
}

/* ---- situations -------------------------------------------------------------------------------- */

enum { AVAILABLE, LEASED, BREAKING, BROKEN, EXPIRED, STATES };
static const char *const states[] = {"available", "leased", "breaking", "broken", "expired"};
enum { RIGHT, WRONG, NO_ID, IDS };
static const char *const ids[] = {"x-ms-lease-id: " A "\n", "x-ms-lease-id: " B "\n", ""};

static const char *expected_code(const recipe *what, int id, int state) {
    bool container = what->level == OPS_CONTAINER, locked = state == LEASED || state == BREAKING;
    if (id == NO_ID) return locked && what->effect == KEEPS ? "LeaseIdMissing" : NULL;
    if (state == AVAILABLE)
        return container ? "LeaseNotPresentWithContainerOperation"
                         : "LeaseNotPresentWithBlobOperation";
    if (!locked) return "LeaseLost";
    if (id == RIGHT) return NULL;
    return container ? "LeaseIdMismatchWithContainerOperation" : "LeaseIdMismatchWithBlobOperation";
}

static call *go(fixture *f, const char *method, const char *target, const char *headers,
                const char *body) {
    call *c = call_new(f->s, method, target, headers, slice_str(body ? body : ""));
    call_run(c, f->a);
    return c;
}

static void must(fixture *f, const char *method, const char *target, const char *headers,
                 const char *body) {
    call *c = go(f, method, target, headers, body);
    if (c->w.status >= 300) print_error("%s %s: %.*s\n", method, target, SLICE_ARG(answer_body(c)));
    assert_true(c->w.status < 300);
    call_free(c);
}

/* Makes a blob or container in that state; path: its address. */
static void make(fixture *f, const recipe *what, int state, char *path, size_t room) {
    static int count;
    char target[128], headers[256];
    bool container = what->level == OPS_CONTAINER;
    snprintf(path, room, container ? "/acct/box%d" : "/acct/box/b%d", count++);
    clock_skew_us(0);
    snprintf(target, sizeof target, container ? "%s?restype=container" : "%s", path);
    snprintf(headers, sizeof headers, container ? "" : "x-ms-blob-type: %s\n",
             what->kind ? what->kind : "BlockBlob");
    must(f, "PUT", target, headers, container || what->kind ? "" : "content");
    if (state == AVAILABLE) return;
    snprintf(target, sizeof target, "%s?%scomp=lease", path, container ? "restype=container&" : "");
    snprintf(headers, sizeof headers,
             "x-ms-lease-action: acquire\nx-ms-proposed-lease-id: " A "\nx-ms-lease-duration: %s",
             state == EXPIRED ? "15" : "60");
    must(f, "PUT", target, headers, "");
    if (state == BREAKING || state == BROKEN) {
        snprintf(headers, sizeof headers, "x-ms-lease-action: break\nx-ms-lease-break-period: %s",
                 state == BREAKING ? "30" : "0");
        must(f, "PUT", target, headers, "");
    }
    if (state == EXPIRED) clock_skew_us(16 * SEC);
}

static const char *method_name(ops_method m) {
    static const char *const names[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"};
    return names[m];
}

static call *attempt(fixture *f, const ops_row *row, const recipe *what, const char *path,
                     const char *id) {
    char target[256], headers[512];
    snprintf(target, sizeof target, "%s?%s%s&%s%s&%s", path, row->restype ? "restype=" : "",
             row->restype ? row->restype : "", row->comp ? "comp=" : "", row->comp ? row->comp : "",
             what->query ? what->query : "");
    snprintf(headers, sizeof headers, "%s%s%s%s%s%s", row->header ? row->header : "",
             row->header ? ": " : "", row->header && row->header_value ? row->header_value : "",
             row->header ? "\n" : "", what->headers ? what->headers : "", id);
    return go(f, method_name(row->method), target, headers, what->body);
}

static void check_cell(fixture *f, const ops_row *row, const recipe *what, int id, int state) {
    char path[64];
    make(f, what, state, path, sizeof path);
    const char *wanted = expected_code(what, id, state);
    call *c = attempt(f, row, what, path, ids[id]);
    slice code = answer_header(c, "x-ms-error-code");
    bool fine = wanted ? slice_eq(code, slice_str(wanted)) : c->w.status < 300;
    if (!fine)
        print_error("%s, lease id %s, when %s: %d %.*s, not %s\n", row->name,
                    id == RIGHT   ? "right"
                    : id == WRONG ? "wrong"
                                  : "absent",
                    states[state], c->w.status, SLICE_ARG(code), wanted ? wanted : "done");
    assert_true(fine);
    if (wanted) assert_int_equal(c->w.status, 412);
    call_free(c);
    clock_skew_us(0);
}

static void test_every_operation(void **state) {
    fixture *f = *state;
    size_t cells = 0;
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        if (row->level == OPS_SERVICE) continue;
        const recipe *what = recipe_of(row);
        /* The generated page tells the same. */
        assert_int_equal((row->conditions & OPS_IF_LEASE) != 0, what->effect >= BESIDES);
        if (what->effect != CHECKS && what->effect != KEEPS) continue;
        for (int id = 0; id < IDS; id++)
            for (int s = 0; s < STATES; s++, cells++) check_cell(f, row, what, id, s);
    }
    assert_true(cells >= 15 * (size_t)15);
}

/* What has no lease condition does not look at a lease id, whatever it says. */
static void test_operations_without_leases(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        if (row->level == OPS_SERVICE || recipe_of(row)->effect != NOTHING) continue;
        char path[64];
        make(f, recipe_of(row), LEASED, path, sizeof path);
        call *c = attempt(f, row, recipe_of(row), path, ids[WRONG]);
        if (slice_starts(answer_header(c, "x-ms-error-code"), S("Lease")))
            print_error("%s: %.*s\n", row->name, SLICE_ARG(answer_body(c)));
        assert_false(slice_starts(answer_header(c, "x-ms-error-code"), S("Lease")));
        call_free(c);
    }
}

/* No blob, and an id: Azure says that there is no lease, or no blob. */
static void test_of_a_blob_that_is_not_there(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        if (row->level != OPS_BLOB) continue;
        const recipe *what = recipe_of(row);
        if (what->effect != CHECKS && what->effect != KEEPS) continue;
        call *c = attempt(f, row, what, "/acct/box/none", ids[RIGHT]);
        slice code = answer_header(c, "x-ms-error-code");
        bool fine = slice_eq(code, S("BlobNotFound")) ||
                    slice_eq(code, S("LeaseNotPresentWithBlobOperation"));
        if (!fine) print_error("%s: %d %.*s\n", row->name, c->w.status, SLICE_ARG(code));
        assert_true(fine);
        call_free(c);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_every_operation),
        T(test_operations_without_leases),
        T(test_of_a_blob_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
