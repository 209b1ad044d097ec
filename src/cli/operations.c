/* `strongroom help operations`: docs/operations.md, generated from the operation table, so that the page and the
 * program cannot disagree (tests/wire/test_operations_page.py compares them). */
#include "blob/blob.h"
#include "cli/cli.h"

/* An operation of the Blob service: the first x-ms-version that has it, and the file of tests/wire that sees it
 * succeed and be refused (tests/wire/conftest.py counts). */
typedef struct reference_row {
    const char *name, *since, *tested;
} reference_row;

/* All of them, in the order of Azure's reference; what has no row in the operation table is not there. */
static const reference_row reference[] = {
    {"Set Blob Service Properties", "2009-09-19", "test_service.py"},
    {"Get Blob Service Properties", "2009-09-19", "test_service.py"},
    {"Get Blob Service Stats", "2013-08-15", "test_service.py"},
    {"List Containers", "2009-09-19", "test_service.py"},
    {"Get User Delegation Key", "2018-11-09", NULL},
    {"Get Account Information", "2018-03-28", "test_service.py"},
    {"Submit Batch", "2018-11-09", "test_batch.py"},
    {"Find Blobs by Tags", "2019-12-12", "test_find.py"},
    {"Preflight Blob Request", "2013-08-15", "test_service.py"},
    {"Create Container", "2009-09-19", "test_containers.py"},
    {"Get Container Properties", "2009-09-19", "test_containers.py"},
    {"Get Container Metadata", "2009-09-19", "test_metadata.py"},
    {"Delete Container", "2009-09-19", "test_containers.py"},
    {"Set Container Metadata", "2009-09-19", "test_metadata.py"},
    {"Get Container ACL", "2009-09-19", "test_containers.py"},
    {"Set Container ACL", "2009-09-19", "test_containers.py"},
    {"Restore Container", "2019-12-12", "test_deleted_containers.py"},
    {"Rename Container", "2020-06-12", "test_deleted_containers.py"},
    {"Lease Container", "2012-02-12", "test_leases.py"},
    {"List Blobs", "2009-09-19", "test_listing.py"},
    {"Get Blob", "2009-09-19", "test_ranges.py"},
    {"Get Blob Properties", "2009-09-19", "test_conditions.py"},
    {"Get Blob Metadata", "2009-09-19", "test_metadata.py"},
    {"Delete Blob", "2009-09-19", "test_conditions.py"},
    {"Undelete Blob", "2017-07-29", "test_soft_delete.py"},
    {"Set Blob Expiry", "2020-02-10", "test_tiers.py"},
    {"Set Blob Properties", "2009-09-19", "test_metadata.py"},
    {"Set Blob Immutability Policy", "2020-06-12", "test_immutability.py"},
    {"Delete Blob Immutability Policy", "2020-06-12", "test_immutability.py"},
    {"Set Blob Legal Hold", "2020-06-12", "test_immutability.py"},
    {"Set Blob Metadata", "2009-09-19", "test_metadata.py"},
    {"Lease Blob", "2009-09-19", "test_leases.py"},
    {"Snapshot Blob", "2009-09-19", "test_snapshots.py"},
    {"Copy Blob", "2009-09-19", "test_copy_async.py"},
    {"Copy Blob From URL", "2018-03-28", "test_copy_sync.py"},
    {"Abort Copy Blob", "2012-02-12", "test_copy_async.py"},
    {"Set Blob Tier", "2017-04-17", "test_tiers.py"},
    {"Get Blob Tags", "2019-12-12", "test_tags.py"},
    {"Set Blob Tags", "2019-12-12", "test_tags.py"},
    {"Put Blob", "2009-09-19", "test_put_blob.py"},
    {"Put Blob From URL", "2020-04-08", "test_copy_sync.py"},
    {"Put Block", "2009-09-19", "test_blocks.py"},
    {"Put Block From URL", "2018-03-28", "test_copy_sync.py"},
    {"Put Block List", "2009-09-19", "test_blocks.py"},
    {"Get Block List", "2009-09-19", "test_blocks.py"},
    {"Query Blob Contents", "2019-12-12", NULL},
    {"Put Page", "2009-09-19", "test_page.py"},
    {"Put Page From URL", "2018-11-09", "test_blocks_from_url.py"},
    {"Get Page Ranges", "2009-09-19", "test_page.py"},
    {"Incremental Copy Blob", "2016-05-31", "test_copy.py"},
    {"Append Block", "2015-02-21", "test_append.py"},
    {"Append Block From URL", "2018-11-09", "test_blocks_from_url.py"},
    {"Append Blob Seal", "2019-12-12", "test_append.py"},
};

static bool has_row(const char *name) {
    for (size_t i = 0; i < blob_protocol.row_count; i++)
        if (strcmp(blob_protocol.rows[i].name, name) == 0) return true;
    return false;
}

static const char *method_name(ops_method m) {
    static const char *const names[] = {"GET",    "HEAD",  "PUT",     "POST",
                                        "DELETE", "PATCH", "OPTIONS", ""};
    return names[m];
}

static void print_request(const ops_row *row) {
    static const char *const levels[] = {"/ACCOUNT", "/ACCOUNT/CONTAINER",
                                         "/ACCOUNT/CONTAINER/BLOB"};
    printf("`%s %s", method_name(row->method), levels[row->level]);
    if (row->restype) printf("?restype=%s", row->restype);
    if (row->comp) printf("%ccomp=%s", row->restype ? '&' : '?', row->comp);
    if (row->param) printf("%c%s=…", row->restype || row->comp ? '&' : '?', row->param);
    printf("`");
    if (row->header && row->header_value)
        printf(", `%s: %s`", row->header, row->header_value);
    else if (row->header)
        printf(", `%s`", row->header);
}

static void print_letters(const char *any) {
    if (!any)
        printf("–");
    else if (strlen(any) > 6)
        printf("any");
    else
        for (const char *p = any; *p; p++) printf("%s%c", p == any ? "" : " or ", *p);
}

static void print_conditions(unsigned conditions) {
    static const char *const names[] = {
        "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "lease", "tags"};
    if ((conditions & OPS_IF_ALL) == OPS_IF_ALL) {
        printf("all%s", conditions & OPS_IF_BLOB_NAMES ? " (x-ms-blob-if-…)" : "");
        return;
    }
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!(conditions & (1u << i))) continue;
        printf("%s%s", any ? ", " : "", names[i]);
        any = true;
    }
    if (!any) printf("–");
}

static void print_row(const ops_row *row) {
    static const char *const anonymous[] = {"never", "public blob", "public container", "always"};
    printf("| %s | ", row->name);
    print_request(row);
    printf(" | ");
    print_letters(row->need.account_any);
    printf(" (%c) | ", row->need.resource_type);
    print_letters(row->need.service_any);
    printf(" | %s | ", anonymous[row->need.anonymous]);
    print_conditions(row->conditions);
    bool writes = row->need.writes || row->flags & OPS_NO_SECONDARY;
    printf(" | %s |\n", writes                            ? "refused"
                        : row->flags & OPS_SECONDARY_ONLY ? "only there"
                                                          : "answered");
}

static void print_reference(void) {
    printf("| operation | supported | since version | tested by |\n| --- | --- | --- | --- |\n");
    for (const reference_row *f = reference; f < reference + ARRAY_LEN(reference); f++) {
        bool here = has_row(f->name);
        printf("| %s | %s | %s | ", f->name, here ? "yes" : "no", f->since);
        if (here && f->tested)
            printf("[%s](../tests/wire/%s) |\n", f->tested, f->tested);
        else
            printf("– |\n");
    }
}

void cli_operations_help(void) {
    printf("# Operations\n\n"
           "Generated by `strongroom help operations` from the operation table "
           "(`src/blob/table.c`).\n"
           "What is not supported is answered 501, or with an error that names what is missing;\n"
           "nothing is silently ignored. ADLS Gen2 (the `dfs` endpoint) is not there yet.\n"
           "[compatibility.md](compatibility.md) tells what is otherwise than on Azure.\n\n");
    print_reference();
    printf(
        "\n## Requests\n\n"
        "SAS: which permission letters let a caller in; in brackets the resource type that an\n"
        "account SAS must sign (*: any). Conditions: which conditional headers are honoured. "
        "Secondary: at\n"
        "the read-only address `ACCOUNT-secondary`. tests/wire/test_credentials.py asks each row "
        "with\n"
        "every kind of credential and expects what stands here.\n\n"
        "| operation | request | account SAS | service SAS | anonymous | conditions | secondary |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < blob_protocol.row_count; i++) print_row(&blob_protocol.rows[i]);
    printf(
        "\n`OPTIONS` (Preflight Blob Request) is answered at every address by the account's CORS "
        "rules.\n");
}
