/* The operation table of the Blob service, and which of its rows a request means.
 *
 * A row says what it needs of its caller in the words of Azure's reference: "Create an account SAS"
 * (signed resource type and permissions of each operation), "Create a service SAS", "Configure
 * anonymous read access", "Specifying conditional headers for Blob service operations". */
#include "blob/internal.h"

#define ACTION     "Microsoft.Storage/storageAccounts/blobServices/"
#define CONTAINERS ACTION "containers/"
#define BLOBS      ACTION "containers/blobs/"

#define PROTECT BLOBS "immutableStorage/runAsSuperUser/action"

#define ANY_LETTER "racwdxyltmeopif"
/* Lease conditions only; times (containers have no others); all. */
#define LEASE OPS_IF_LEASE
#define ALL   OPS_IF_ALL
/* Those of lease operations: the lease id means something else there. */
#define LEASING (OPS_IF_ALL & ~OPS_IF_LEASE)
#define TIMES   (OPS_IF_MODIFIED | OPS_IF_UNMODIFIED)
/* Containers have no tags. */
#define UNTAGGED (OPS_IF_ALL & ~OPS_IF_TAGS)
/* The tags operations: their own conditions are named x-ms-blob-if-…. */
#define TAGGING (OPS_IF_ALL | OPS_IF_BLOB_NAMES)
#define BODY    (OPS_BODY_IN)
#define LARGE   (OPS_BODY_IN | OPS_BODY_STREAMS)
/* One change of one blob, tried on the loop when all it needs is in memory. */
#define CHANGE (OPS_NO_SECONDARY | OPS_FAST | OPS_LATER)
/* "Blob storage operations supporting customer-provided keys". */
#define KEYED OPS_CUSTOMER_KEY
/* Those that put content or metadata, under either. */
#define SEALED (OPS_CUSTOMER_KEY | OPS_SCOPE)

#define READS(type, account, service, anonymous)                                                   \
    { (type), (account), (service), (anonymous), false }
#define WRITES(type, account, service)                                                             \
    { (type), (account), (service), AUTH_PUBLIC_NEVER, true }

/* One operation with five actions; who may delete may break ("Create a service SAS"). */
#define LEASE_BLOB(action, letters)                                                                \
    {                                                                                              \
        "Lease Blob", OPS_PUT, OPS_BLOB, NULL, "lease", "x-ms-lease-action", (action),             \
            WRITES('o', letters, letters), BLOBS "write", OPS_ADMIN, LEASING, CHANGE, 0,           \
            blob_lease                                                                             \
    }
#define LEASE_CONTAINER(action, letters)                                                           \
    {                                                                                              \
        "Lease Container", OPS_PUT, OPS_CONTAINER, "container", "lease", "x-ms-lease-action",      \
            (action), WRITES('c', letters, NULL), CONTAINERS "write", OPS_ADMIN, TIMES,            \
            OPS_NO_SECONDARY, 0, blob_lease                                                        \
    }

static const ops_row rows[] = {
    /* name, method, level, restype, comp, header, value, need, action, class, conditions, flags,
     * body_max, handler[, parameter]. Those that come most often stand first. */
    {"Get Blob", OPS_GET, OPS_BLOB, NULL, NULL, NULL, NULL, READS('o', "r", "r", AUTH_PUBLIC_BLOB),
     BLOBS "read", OPS_CONSULTATION, ALL, OPS_FAST | OPS_PICKS | OPS_STRUCTURED | KEYED, 0,
     blob_get},
    {"Get Blob Properties", OPS_HEAD, OPS_BLOB, NULL, NULL, NULL, NULL,
     READS('o', "r", "r", AUTH_PUBLIC_BLOB), BLOBS "read", OPS_CONSULTATION, ALL,
     OPS_FAST | OPS_PICKS | KEYED, 0, blob_get_properties},
    {"Put Block From URL", OPS_PUT, OPS_BLOB, NULL, "block", "x-ms-copy-source", NULL,
     WRITES('o', "wc", "wc"), BLOBS "write", OPS_COLLECTION, LEASE,
     OPS_LONG | OPS_NO_SECONDARY | SEALED, 0, blob_put_block_from_url},
    {"Put Blob From URL", OPS_PUT, OPS_BLOB, NULL, NULL, "x-ms-copy-source,x-ms-blob-type", NULL,
     WRITES('o', "wc", "wc"), BLOBS "write", OPS_COLLECTION, ALL,
     OPS_LONG | OPS_NO_SECONDARY | SEALED, 0, blob_put_from_url},
    {"Copy Blob From URL", OPS_PUT, OPS_BLOB, NULL, NULL, "x-ms-copy-source,x-ms-requires-sync",
     "true", WRITES('o', "wc", "wc"), BLOBS "write", OPS_COLLECTION, ALL,
     OPS_LONG | OPS_NO_SECONDARY | OPS_SCOPE, 0, blob_copy_from_url},
    {"Copy Blob", OPS_PUT, OPS_BLOB, NULL, NULL, "x-ms-copy-source", NULL, WRITES('o', "wc", "wc"),
     BLOBS "write", OPS_COLLECTION, ALL, OPS_LONG | OPS_NO_SECONDARY | OPS_SCOPE, 0, blob_copy},
    {"Abort Copy Blob", OPS_PUT, OPS_BLOB, NULL, "copy", "x-ms-copy-action", "abort",
     WRITES('o', "w", "w"), BLOBS "write", OPS_ALTERATION, LEASE, OPS_NO_SECONDARY, 0,
     blob_abort_copy},
    {"Put Blob", OPS_PUT, OPS_BLOB, NULL, NULL, NULL, NULL, WRITES('o', "wc", "wc"), BLOBS "write",
     OPS_COLLECTION, ALL, LARGE | CHANGE | OPS_STRUCTURED | SEALED, STORE_PUT_BLOB_LEN_MAX,
     blob_put},
    {"Put Block", OPS_PUT, OPS_BLOB, NULL, "block", NULL, NULL, WRITES('o', "wc", "wc"),
     BLOBS "write", OPS_COLLECTION, LEASE, LARGE | CHANGE | OPS_STRUCTURED | SEALED,
     STORE_BLOCK_LEN_MAX, blob_put_block},
    {"Put Block List", OPS_PUT, OPS_BLOB, NULL, "blocklist", NULL, NULL, WRITES('o', "wc", "wc"),
     BLOBS "write", OPS_COLLECTION, ALL, LARGE | OPS_NO_SECONDARY | SEALED, BLOB_BLOCK_LIST_MAX,
     blob_put_block_list},
    {"Append Block From URL", OPS_PUT, OPS_BLOB, NULL, "appendblock", "x-ms-copy-source", NULL,
     WRITES('o', "aw", "aw"), BLOBS "add/action", OPS_COLLECTION, ALL,
     OPS_LONG | OPS_NO_SECONDARY | SEALED, 0, blob_append_block_from_url},
    {"Append Block", OPS_PUT, OPS_BLOB, NULL, "appendblock", NULL, NULL, WRITES('o', "aw", "aw"),
     BLOBS "add/action", OPS_COLLECTION, ALL, LARGE | OPS_NO_SECONDARY | OPS_STRUCTURED | SEALED,
     STORE_APPEND_BLOCK_LEN_MAX, blob_append_block},
    {"Append Blob Seal", OPS_PUT, OPS_BLOB, NULL, "seal", NULL, NULL, WRITES('o', "w", "w"),
     BLOBS "write", OPS_ALTERATION, ALL, OPS_NO_SECONDARY, 0, blob_append_seal},
    {"Put Page From URL", OPS_PUT, OPS_BLOB, NULL, "page", "x-ms-copy-source", NULL,
     WRITES('o', "w", "w"), BLOBS "write", OPS_COLLECTION, ALL,
     OPS_LONG | OPS_NO_SECONDARY | SEALED, 0, blob_put_page_from_url},
    {"Put Page", OPS_PUT, OPS_BLOB, NULL, "page", NULL, NULL, WRITES('o', "w", "w"), BLOBS "write",
     OPS_COLLECTION, ALL, LARGE | OPS_NO_SECONDARY | OPS_STRUCTURED | SEALED, STORE_PAGE_WRITE_MAX,
     blob_put_page},
    {"Get Page Ranges", OPS_GET, OPS_BLOB, NULL, "pagelist", NULL, NULL,
     READS('o', "r", "r", AUTH_PUBLIC_BLOB), BLOBS "read", OPS_CONSULTATION, ALL, OPS_PICKS, 0,
     blob_get_page_ranges},
    /* Of a soft-deleted snapshot or version for good; of a version; of all else. */
    {"Delete Blob", OPS_DELETE, OPS_BLOB, NULL, NULL, NULL, NULL, WRITES('o', "y", "y"),
     BLOBS "permanentDelete/action", OPS_ERASURE, ALL, OPS_NO_SECONDARY | OPS_PICKS, 0, blob_delete,
     "deletetype"},
    {"Delete Blob", OPS_DELETE, OPS_BLOB, NULL, NULL, NULL, NULL, WRITES('o', "x", "x"),
     BLOBS "deleteBlobVersion/action", OPS_ERASURE, ALL, OPS_NO_SECONDARY | OPS_PICKS, 0,
     blob_delete, "versionid"},
    {"Delete Blob", OPS_DELETE, OPS_BLOB, NULL, NULL, NULL, NULL, WRITES('o', "d", "d"),
     BLOBS "delete", OPS_ERASURE, ALL, CHANGE | OPS_PICKS, 0, blob_delete},
    {"Snapshot Blob", OPS_PUT, OPS_BLOB, NULL, "snapshot", NULL, NULL, WRITES('o', "cw", "cw"),
     BLOBS "write", OPS_COLLECTION, ALL, CHANGE | SEALED, 0, blob_snapshot},
    {"Undelete Blob", OPS_PUT, OPS_BLOB, NULL, "undelete", NULL, NULL, WRITES('o', "w", "w"),
     BLOBS "write", OPS_ALTERATION, 0, OPS_NO_SECONDARY, 0, blob_undelete},
    {"Get Block List", OPS_GET, OPS_BLOB, NULL, "blocklist", NULL, NULL,
     READS('o', "r", "r", AUTH_PUBLIC_BLOB), BLOBS "read", OPS_CONSULTATION, LEASE | OPS_IF_TAGS,
     OPS_PICKS, 0, blob_get_block_list},
    {"Get Blob Metadata", OPS_GET, OPS_BLOB, NULL, "metadata", NULL, NULL,
     READS('o', "r", "r", AUTH_PUBLIC_BLOB), BLOBS "read", OPS_CONSULTATION, ALL,
     OPS_FAST | OPS_PICKS | KEYED, 0, blob_get_metadata},
    {"Get Blob Metadata", OPS_HEAD, OPS_BLOB, NULL, "metadata", NULL, NULL,
     READS('o', "r", "r", AUTH_PUBLIC_BLOB), BLOBS "read", OPS_CONSULTATION, ALL,
     OPS_FAST | OPS_PICKS | KEYED, 0, blob_get_metadata},
    {"Set Blob Metadata", OPS_PUT, OPS_BLOB, NULL, "metadata", NULL, NULL, WRITES('o', "w", "w"),
     BLOBS "write", OPS_ALTERATION, ALL, CHANGE | SEALED, 0, blob_set_metadata},
    {"Set Blob Properties", OPS_PUT, OPS_BLOB, NULL, "properties", NULL, NULL,
     WRITES('o', "w", "w"), BLOBS "write", OPS_ALTERATION, ALL, CHANGE | KEYED, 0,
     blob_set_properties},
    LEASE_BLOB("acquire", "w"),
    LEASE_BLOB("renew", "w"),
    LEASE_BLOB("change", "w"),
    LEASE_BLOB("release", "w"),
    LEASE_BLOB("break", "wd"),
    {"Set Blob Tier", OPS_PUT, OPS_BLOB, NULL, "tier", NULL, NULL, WRITES('o', "w", "w"),
     BLOBS "write", OPS_ALTERATION, LEASE | OPS_IF_TAGS, OPS_NO_SECONDARY | OPS_PICKS, 0,
     blob_set_tier},
    {"Set Blob Expiry", OPS_PUT, OPS_BLOB, NULL, "expiry", NULL, NULL, WRITES('o', "w", "w"),
     BLOBS "write", OPS_ALTERATION, LEASE, OPS_NO_SECONDARY, 0, blob_set_expiry},
    {"Set Blob Immutability Policy", OPS_PUT, OPS_BLOB, NULL, "immutabilityPolicies", NULL, NULL,
     WRITES('o', "i", "i"), PROTECT, OPS_POLICY, OPS_IF_UNMODIFIED, OPS_NO_SECONDARY | OPS_PICKS, 0,
     blob_set_immutability_policy},
    {"Delete Blob Immutability Policy", OPS_DELETE, OPS_BLOB, NULL, "immutabilityPolicies", NULL,
     NULL, WRITES('o', "i", "i"), PROTECT, OPS_POLICY, 0, OPS_NO_SECONDARY | OPS_PICKS, 0,
     blob_delete_immutability_policy},
    {"Set Blob Legal Hold", OPS_PUT, OPS_BLOB, NULL, "legalhold", NULL, NULL, WRITES('o', "i", "i"),
     PROTECT, OPS_POLICY, 0, OPS_NO_SECONDARY | OPS_PICKS, 0, blob_set_legal_hold},
    {"Get Blob Tags", OPS_GET, OPS_BLOB, NULL, "tags", NULL, NULL,
     READS('o', "t", "t", AUTH_PUBLIC_NEVER), BLOBS "tags/read", OPS_CONSULTATION, TAGGING,
     OPS_FAST | OPS_PICKS, 0, blob_get_tags},
    {"Set Blob Tags", OPS_PUT, OPS_BLOB, NULL, "tags", NULL, NULL, WRITES('o', "t", "t"),
     BLOBS "tags/write", OPS_ALTERATION, TAGGING, BODY | OPS_NO_SECONDARY | OPS_PICKS,
     BLOB_DOCUMENT_MAX, blob_set_tags},
    {"Get Account Information", OPS_GET, OPS_BLOB, "account", "properties", NULL, NULL,
     READS('o', ANY_LETTER, ANY_LETTER, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},
    {"Get Account Information", OPS_HEAD, OPS_BLOB, "account", "properties", NULL, NULL,
     READS('o', ANY_LETTER, ANY_LETTER, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},

    {"List Blobs", OPS_GET, OPS_CONTAINER, "container", "list", NULL, NULL,
     READS('c', "l", "l", AUTH_PUBLIC_CONTAINER), BLOBS "read", OPS_CONSULTATION, LEASE, 0, 0,
     blob_list_blobs},
    {"Find Blobs by Tags", OPS_GET, OPS_CONTAINER, "container", "blobs", NULL, NULL,
     READS('c', "f", "f", AUTH_PUBLIC_NEVER), BLOBS "filter/action", OPS_CONSULTATION, 0, 0, 0,
     blob_find},
    {"Create Container", OPS_PUT, OPS_CONTAINER, "container", NULL, NULL, NULL,
     WRITES('c', "cw", NULL), CONTAINERS "write", OPS_ADMIN, 0, OPS_NO_SECONDARY, 0,
     blob_create_container},
    {"Get Container Properties", OPS_GET, OPS_CONTAINER, "container", NULL, NULL, NULL,
     READS('c', "r", NULL, AUTH_PUBLIC_CONTAINER), CONTAINERS "read", OPS_CONSULTATION, LEASE,
     OPS_FAST, 0, blob_get_container},
    {"Get Container Properties", OPS_HEAD, OPS_CONTAINER, "container", NULL, NULL, NULL,
     READS('c', "r", NULL, AUTH_PUBLIC_CONTAINER), CONTAINERS "read", OPS_CONSULTATION, LEASE,
     OPS_FAST, 0, blob_get_container},
    {"Get Container Metadata", OPS_GET, OPS_CONTAINER, "container", "metadata", NULL, NULL,
     READS('c', "r", NULL, AUTH_PUBLIC_CONTAINER), CONTAINERS "read", OPS_CONSULTATION, LEASE,
     OPS_FAST, 0, blob_get_container_metadata},
    {"Get Container Metadata", OPS_HEAD, OPS_CONTAINER, "container", "metadata", NULL, NULL,
     READS('c', "r", NULL, AUTH_PUBLIC_CONTAINER), CONTAINERS "read", OPS_CONSULTATION, LEASE,
     OPS_FAST, 0, blob_get_container_metadata},
    {"Set Container Metadata", OPS_PUT, OPS_CONTAINER, "container", "metadata", NULL, NULL,
     WRITES('c', "w", NULL), CONTAINERS "write", OPS_ALTERATION, UNTAGGED, OPS_NO_SECONDARY, 0,
     blob_set_container_metadata},
    {"Get Container ACL", OPS_GET, OPS_CONTAINER, "container", "acl", NULL, NULL,
     READS('c', NULL, NULL, AUTH_PUBLIC_NEVER), CONTAINERS "getAcl/action", OPS_POLICY, LEASE,
     OPS_FAST, 0, blob_get_acl},
    {"Get Container ACL", OPS_HEAD, OPS_CONTAINER, "container", "acl", NULL, NULL,
     READS('c', NULL, NULL, AUTH_PUBLIC_NEVER), CONTAINERS "getAcl/action", OPS_POLICY, LEASE,
     OPS_FAST, 0, blob_get_acl},
    {"Set Container ACL", OPS_PUT, OPS_CONTAINER, "container", "acl", NULL, NULL,
     WRITES('c', NULL, NULL), CONTAINERS "setAcl/action", OPS_POLICY, UNTAGGED,
     BODY | OPS_NO_SECONDARY, BLOB_DOCUMENT_MAX, blob_set_acl},
    {"Delete Container", OPS_DELETE, OPS_CONTAINER, "container", NULL, NULL, NULL,
     WRITES('c', "d", NULL), CONTAINERS "delete", OPS_ERASURE, UNTAGGED, OPS_NO_SECONDARY, 0,
     blob_delete_container},
    {"Restore Container", OPS_PUT, OPS_CONTAINER, "container", "undelete", NULL, NULL,
     WRITES('c', "w", NULL), CONTAINERS "write", OPS_ADMIN, 0, OPS_NO_SECONDARY, 0,
     blob_restore_container},
    {"Rename Container", OPS_PUT, OPS_CONTAINER, "container", "rename", NULL, NULL,
     WRITES('c', "w", NULL), CONTAINERS "write", OPS_ADMIN, 0, OPS_NO_SECONDARY, 0,
     blob_rename_container},
    LEASE_CONTAINER("acquire", "w"),
    LEASE_CONTAINER("renew", "w"),
    LEASE_CONTAINER("change", "w"),
    LEASE_CONTAINER("release", "w"),
    LEASE_CONTAINER("break", "wd"),
    {"Get Account Information", OPS_GET, OPS_CONTAINER, "account", "properties", NULL, NULL,
     READS('c', ANY_LETTER, ANY_LETTER, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},
    {"Get Account Information", OPS_HEAD, OPS_CONTAINER, "account", "properties", NULL, NULL,
     READS('c', ANY_LETTER, ANY_LETTER, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},

    /* Whoever sends a batch may do nothing yet: each request in it is authorized by itself. */
    {"Submit Batch", OPS_POST, OPS_CONTAINER, "container", "batch", NULL, NULL,
     WRITES('*', ANY_LETTER, ANY_LETTER), BLOBS "write", OPS_ERASURE, 0, LARGE | OPS_NO_SECONDARY,
     BLOB_BATCH_BODY_MAX, blob_batch},
    {"Submit Batch", OPS_POST, OPS_SERVICE, NULL, "batch", NULL, NULL,
     WRITES('*', ANY_LETTER, NULL), BLOBS "write", OPS_ERASURE, 0, LARGE | OPS_NO_SECONDARY,
     BLOB_BATCH_BODY_MAX, blob_batch},
    /* The JavaScript SDK takes the account of a path-style address for a container. */
    {"Submit Batch", OPS_POST, OPS_SERVICE, "container", "batch", NULL, NULL,
     WRITES('*', ANY_LETTER, NULL), BLOBS "write", OPS_ERASURE, 0, LARGE | OPS_NO_SECONDARY,
     BLOB_BATCH_BODY_MAX, blob_batch},

    {"List Containers", OPS_GET, OPS_SERVICE, NULL, "list", NULL, NULL,
     READS('s', "l", NULL, AUTH_PUBLIC_NEVER), CONTAINERS "read", OPS_CONSULTATION, 0, 0, 0,
     blob_list_containers},
    {"Find Blobs by Tags", OPS_GET, OPS_SERVICE, NULL, "blobs", NULL, NULL,
     READS('o', "f", NULL, AUTH_PUBLIC_NEVER), BLOBS "filter/action", OPS_CONSULTATION, 0, 0, 0,
     blob_find},
    {"Get Blob Service Properties", OPS_GET, OPS_SERVICE, "service", "properties", NULL, NULL,
     READS('s', "r", NULL, AUTH_PUBLIC_NEVER), ACTION "read", OPS_ADMIN, 0, 0, 0,
     blob_get_service_properties},
    {"Set Blob Service Properties", OPS_PUT, OPS_SERVICE, "service", "properties", NULL, NULL,
     WRITES('s', "w", NULL), ACTION "write", OPS_ADMIN, 0, BODY | OPS_NO_SECONDARY,
     BLOB_DOCUMENT_MAX, blob_set_service_properties},
    {"Get Blob Service Stats", OPS_GET, OPS_SERVICE, "service", "stats", NULL, NULL,
     READS('s', "r", NULL, AUTH_PUBLIC_NEVER), ACTION "read", OPS_ADMIN, 0, OPS_SECONDARY_ONLY, 0,
     blob_get_stats},
    {"Get Account Information", OPS_GET, OPS_SERVICE, "account", "properties", NULL, NULL,
     READS('s', ANY_LETTER, NULL, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},
    {"Get Account Information", OPS_HEAD, OPS_SERVICE, "account", "properties", NULL, NULL,
     READS('s', ANY_LETTER, NULL, AUTH_PUBLIC_NEVER), ACTION "getInfo/action", OPS_ADMIN, 0,
     OPS_FAST, 0, blob_get_account_info},

    /* Of any resource, whatever else the request says. */
    {"Preflight Blob Request", OPS_OPTIONS, OPS_SERVICE, NULL, NULL, NULL, NULL,
     READS('s', NULL, NULL, AUTH_PUBLIC_ALWAYS), "", OPS_ADMIN, 0, 0, 0, blob_preflight},
};

/* ---- which row ----------------------------------------------------------------------------------- */

static bool is(const char *wanted, slice found) {
    if (wanted == NULL) return found.len == 0;
    return slice_eq(found, slice_str(wanted));
}

static ops_level level_of(const ops_request *r) {
    return r->container.len == 0 ? OPS_SERVICE : r->blob.len == 0 ? OPS_CONTAINER : OPS_BLOB;
}

/* Operations of the reference that this server does not have yet, by comp. */
static bool is_later(slice comp) {
    /* clang-format off */
    static const char *const later[] = {
        "incrementalcopy",
        "query",
        "userdelegationkey",
        "layout",
        "session",
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (slice_eq(comp, slice_str(later[i]))) return true;
    return false;
}

static err no_row(const ops_request *r, slice restype, slice comp, bool other_method) {
    ENSURE(!other_method, ERR_UNSUPPORTED_HTTP_VERB, "%.*s is not a method of this resource",
           SLICE_ARG(slice_take(r->method_text, 32)));
    /* Whoever is not a bearer of a token has no user to delegate for ("Get User Delegation Key"). */
    ENSURE(!slice_eq(comp, S("userdelegationkey")) ||
               slice_starts_nocase(ops_header(r, "Authorization"), S("Bearer ")),
           ERR_AUTHENTICATION_FAILED, "Only authentication scheme Bearer is supported");
    ENSURE(!is_later(comp), ERR_NOT_IMPLEMENTED, "comp=%.*s is not supported yet by this server",
           SLICE_ARG(comp));
    ENSURE(comp.len == 0, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "comp: '%.*s' is not an operation of this resource%s", SLICE_ARG(slice_take(comp, 32)),
           level_of(r) == OPS_BLOB && restype.len == 0
               ? "; one of a container needs restype=container"
               : "");
    ENSURE(restype.len == 0, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "restype: '%.*s' alone is not an operation of this resource",
           SLICE_ARG(slice_take(restype, 32)));
    return err_fail(ERR_MISSING_REQUIRED_QUERY_PARAMETER,
                    "the address names no blob, and there is no comp or restype");
}

/* Data Lake requests come to the same address; `resource` is theirs alone. Those that would be taken
 * for an operation on a blob must not be. */
static err refuse_dfs(const ops_request *r) {
    ENSURE(ops_param(r, "resource").p == NULL, ERR_NOT_IMPLEMENTED,
           "resource=%.*s: Data Lake Storage (dfs) requests are not supported yet by this server",
           SLICE_ARG(slice_take(ops_param(r, "resource"), 32)));
    return OK;
}

/* Rows that a header tells apart stand before those that need none. */
static bool header_is(const ops_row *row, const ops_request *r) {
    if (row->header == NULL) return true;
    slice rest = slice_str(row->header), name, v = SLICE_NONE;
    while (slice_split(&rest, ',', &name)) {
        v = ops_header_named(r, name);
        if (v.p == NULL) return false;
    }
    return row->header_value == NULL || slice_eq_nocase(v, slice_str(row->header_value));
}

/* All but the header was there that says which of several operations is meant. */
static err no_header(const ops_request *r, const char *name) {
    slice v = ops_header(r, name);
    ENSURE(v.p != NULL, ERR_MISSING_REQUIRED_HEADER, "%s is missing", name);
    return err_fail(ERR_INVALID_HEADER_VALUE, "%s: '%.*s' is not a value of this header", name,
                    SLICE_ARG(slice_take(v, 32)));
}

static err find_row(const ops_request *r, const ops_row **ret) {
    TRY(refuse_dfs(r));
    slice restype = ops_param(r, "restype"), comp = ops_param(r, "comp");
    ops_level level = level_of(r);
    bool other_method = false;
    const char *header = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const ops_row *row = &rows[i];
        bool here = row->level == level && is(row->comp, comp) && is(row->restype, restype);
        if (!here || row->method == OPS_OPTIONS) continue;
        other_method = true;
        if (row->method != r->method) continue;
        if (row->param && ops_param(r, row->param).len == 0) continue;
        if (!header_is(row, r)) {
            header = row->header;
            continue;
        }
        *ret = row;
        return OK;
    }
    return header ? no_header(r, header) : no_row(r, restype, comp, other_method);
}

static err route(ops_request *r, const ops_row **ret) {
    TRY(blob_address(r));
    if (r->method != OPS_OPTIONS) return find_row(r, ret);
    *ret = &rows[ARRAY_LEN(rows) - 1];
    return OK;
}

const ops_protocol blob_protocol = {.name = "blob",
                                    .rows = rows,
                                    .row_count = ARRAY_LEN(rows),
                                    .route = route,
                                    .fail = blob_fail,
                                    .decorate = blob_decorate};
