/* Prints docs/operations.md from the operation table. Run by tools/operations-page. */
#include "base/base.h"
#include "blob/blob.h"

/* Every operation of the public reference ("Blob service REST API"), by level. Those without a row
 * in the table are not there yet. */
static const char *const service[] = {"List Containers",
                                      "Get Blob Service Properties",
                                      "Set Blob Service Properties",
                                      "Preflight Blob Request",
                                      "Get Blob Service Stats",
                                      "Get Account Information",
                                      "Get User Delegation Key",
                                      "Blob Batch",
                                      "Find Blobs by Tags",
                                      NULL};
static const char *const container[] = {"Create Container",
                                        "Get Container Properties",
                                        "Get Container Metadata",
                                        "Set Container Metadata",
                                        "Get Container ACL",
                                        "Set Container ACL",
                                        "Delete Container",
                                        "List Blobs",
                                        "Get Account Information",
                                        "Lease Container",
                                        "Restore Container",
                                        "Rename Container",
                                        "Find Blobs by Tags in Container",
                                        "Container Batch",
                                        NULL};
static const char *const blob[] = {"Put Blob",
                                   "Get Blob",
                                   "Get Blob Properties",
                                   "Set Blob Properties",
                                   "Get Blob Metadata",
                                   "Set Blob Metadata",
                                   "Delete Blob",
                                   "Put Block",
                                   "Put Block List",
                                   "Get Block List",
                                   "Get Account Information",
                                   "Put Blob From URL",
                                   "Put Block From URL",
                                   "Query Blob Contents",
                                   "Lease Blob",
                                   "Snapshot Blob",
                                   "Undelete Blob",
                                   "Copy Blob",
                                   "Copy Blob From URL",
                                   "Abort Copy Blob",
                                   "Set Blob Tier",
                                   "Get Blob Tags",
                                   "Set Blob Tags",
                                   "Set Blob Expiry",
                                   "Set Immutability Policy",
                                   "Delete Immutability Policy",
                                   "Set Legal Hold",
                                   "Put Page",
                                   "Put Page From URL",
                                   "Get Page Ranges",
                                   "Incremental Copy Blob",
                                   "Append Block",
                                   "Append Block From URL",
                                   "Append Blob Seal",
                                   NULL};

static const char *method_name(ops_method m) {
    static const char *const names[] = {"GET",    "HEAD",  "PUT",     "POST",
                                        "DELETE", "PATCH", "OPTIONS", "?"};
    return names[m];
}

static const ops_row *find(const char *name, ops_level level) {
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        if (row->level == level && strcmp(row->name, name) == 0) return row;
    }
    return NULL;
}

static void put_request(buf *b, const ops_row *row) {
    static const char *const paths[] = {"/", "/container", "/container/blob"};
    buf_byte(b, '`');
    const char *sep = "";
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *same = &blob_protocol.rows[i];
        if (same->level != row->level || strcmp(same->name, row->name) != 0) continue;
        buf_fmt(b, "%s%s", sep, method_name(same->method));
        sep = "/";
    }
    buf_fmt(b, " %s", row->method == OPS_OPTIONS ? "any path" : paths[row->level]);
    if (row->restype != NULL) buf_fmt(b, "?restype=%s", row->restype);
    if (row->comp != NULL) buf_fmt(b, "%scomp=%s", row->restype ? "&" : "?", row->comp);
    buf_byte(b, '`');
}

static void put_letters(buf *b, const char *letters) {
    if (letters == NULL)
        buf_str(b, "no");
    else if (strlen(letters) > 4)
        buf_str(b, "any");
    else
        for (size_t i = 0; letters[i] != '\0'; i++)
            buf_fmt(b, "%s%c", i > 0 ? " or " : "", letters[i]);
}

static void put_conditions(buf *b, unsigned c) {
    static const char *const names[] = {"If-Match", "If-None-Match", "If-Modified-Since",
                                        "If-Unmodified-Since", "x-ms-lease-id"};
    if (c == OPS_IF_ALL) {
        buf_str(b, "all");
        return;
    }
    const char *sep = "";
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if ((c >> i & 1) == 0) continue;
        buf_fmt(b, "%s%s", sep, names[i]);
        sep = ", ";
    }
    if (c == 0) buf_str(b, "none");
}

static const char *anonymous_name(auth_public p) {
    static const char *const names[] = {"no", "public blob or container", "public container",
                                        "always"};
    return names[p];
}

static void put_row(buf *b, const ops_row *row) {
    buf_fmt(b, "| %s | ", row->name);
    put_request(b, row);
    buf_str(b, " | ");
    if (row->need.account_any != NULL) buf_fmt(b, "%c: ", row->need.resource_type);
    put_letters(b, row->need.account_any);
    buf_str(b, " | ");
    put_letters(b, row->need.service_any);
    buf_fmt(b, " | %s | ", anonymous_name(row->need.anonymous));
    put_conditions(b, row->conditions);
    buf_str(b, row->need.writes ? " | no |\n" : " | yes |\n");
}

static void put_level(buf *b, const char *title, ops_level level, const char *const *names) {
    buf_fmt(b,
            "\n## %s\n\n| operation | request | account SAS (srt: sp) | service SAS (sp) | "
            "anonymous | conditional headers | on the secondary |\n"
            "| --- | --- | --- | --- | --- | --- | --- |\n",
            title);
    for (size_t i = 0; names[i] != NULL; i++) {
        const ops_row *row = find(names[i], level);
        if (row != NULL) put_row(b, row);
    }
    buf_str(b, "\nNot yet:");
    const char *sep = " ";
    for (size_t i = 0; names[i] != NULL; i++) {
        if (find(names[i], level) != NULL) continue;
        buf_fmt(b, "%s%s", sep, names[i]);
        sep = " · ";
    }
    buf_str(b, ".\n");
}

/* A row that the lists above do not name would be missing on the page. */
static bool all_named(void) {
    const char *const *const lists[] = {service, container, blob};
    bool all = true;
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        const char *const *name = lists[row->level];
        while (*name != NULL && strcmp(*name, row->name) != 0) name++;
        if (*name == NULL) fprintf(stderr, "operations-page: no place for '%s'\n", row->name);
        all &= *name != NULL;
    }
    return all;
}

int main(void) {
    buf b;
    buf_init(&b, 1 << 20);
    buf_str(&b, "<!-- Made by tools/operations-page from the operation table; do not edit. -->\n"
                "# Operations\n\n"
                "What this server does of the Blob service's REST API, and what of it does not "
                "exist yet. A request signed with the account's key (Shared Key, Shared Key Lite) "
                "may do everything; the other columns say what else suffices: the resource type "
                "and permission letters of an account SAS, the letters of a service SAS (of the "
                "container, or of the blob where one is addressed), or an anonymous request.\n\n"
                "What is not there answers `501 NotImplemented`, and so does a header whose "
                "meaning could not be kept (tags, customer-provided keys, encryption scopes, "
                "immutability, legal holds, structured bodies, copy sources): it is never ignored "
                "silently. Put Blob makes block blobs; page and append blobs are not there yet. "
                "Soft delete cannot be switched on yet.\n");
    put_level(&b, "Service", OPS_SERVICE, service);
    put_level(&b, "Container", OPS_CONTAINER, container);
    put_level(&b, "Blob", OPS_BLOB, blob);
    bool fine = all_named() && buf_check(&b) == OK;
    fine = fine && fwrite(b.p, 1, b.len, stdout) == b.len && fflush(stdout) == 0;
    buf_done(&b);
    return fine ? 0 : 1;
}
