/* The account's service: List Containers, Get and Set Blob Service Properties, Get Blob Service
 * Stats, Get Account Information. */
#include "blob/internal.h"

#define RETENTION_DAYS_MAX 365
#define DAY_US             (86400ll * 1000000)
#define CORS_AGE_MAX       INT32_MAX

/* ---- List Containers ----------------------------------------------------------------------------- */

static err read_include(const ops_request *r, store_container_list *q) {
    slice rest = ops_param(r, "include"), part;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        bool metadata = slice_eq_nocase(part, S("metadata"));
        bool deleted = slice_eq_nocase(part, S("deleted"));
        bool system = slice_eq_nocase(part, S("system"));
        ENSURE(metadata || deleted || system || part.len == 0, ERR_INVALID_QUERY_PARAMETER_VALUE,
               "include: '%.*s' is not known", SLICE_ARG(slice_take(part, 32)));
        q->metadata |= metadata;
        q->deleted |= deleted;
        q->system |= system;
    }
    return OK;
}

typedef struct container_writer {
    buf *b;
    bool metadata;
} container_writer;

static void put_etag(buf *b, uint64_t etag) {
    buf_put(b, S("<Etag>\"0x"));
    uint8_t be[8];
    for (int i = 0; i < 8; i++) be[i] = (uint8_t)(etag >> (56 - 8 * i));
    static const char digits[] = "0123456789ABCDEF";
    bool begun = false;
    for (int i = 0; i < 16; i++) {
        unsigned nibble = i % 2 ? be[i / 2] & 15u : be[i / 2] >> 4;
        begun |= nibble != 0 || i == 15;
        if (begun) buf_byte(b, (uint8_t)digits[nibble]);
    }
    buf_put(b, S("\"</Etag>"));
}

static void put_deletion(buf *b, const store_container *k) {
    buf_put(b, S("<Version>"));
    buf_fmt(b, "%016llX", (unsigned long long)k->version);
    buf_put(b, S("</Version><Deleted>true</Deleted>"));
}

/* The day that has begun counts: 7 of 7 right after the deletion. */
static void put_retention_left(buf *b, const store_container *k) {
    int64_t left = k->purge_us - clock_wall_us();
    xml_http_date(b, "DeletedTime", k->deleted_us);
    xml_element_u64(b, "RemainingRetentionDays",
                    left > 0 ? (uint64_t)((left + DAY_US - 1) / DAY_US) : 0);
}

static err each_container(void *ctx, const store_container *k) {
    container_writer *cw = ctx;
    buf *b = cw->b;
    if (b->len > BLOB_PAGE_BYTES) return ERR_TOO_LARGE;
    buf_put(b, S("<Container>"));
    xml_element(b, "Name", k->name);
    if (k->deleted) put_deletion(b, k);
    buf_put(b, S("<Properties>"));
    xml_http_date(b, "Last-Modified", k->modified_us);
    put_etag(b, k->etag);
    blob_list_lease(b, &k->lease);
    if (k->public_access != STORE_PRIVATE)
        xml_element(b, "PublicAccess",
                    k->public_access == STORE_PUBLIC_BLOB ? S("blob") : S("container"));
    xml_element(b, "DefaultEncryptionScope", blob_default_scope_name(k));
    xml_element_bool(b, "DenyEncryptionScopeOverride", k->scope.deny_override);
    xml_element(b, "HasImmutabilityPolicy", k->guard.days ? S("true") : S("false"));
    xml_element(b, "HasLegalHold", k->guard.holds.len ? S("true") : S("false"));
    buf_put(b, S("<ImmutableStorageWithVersioningEnabled>false"
                 "</ImmutableStorageWithVersioningEnabled>"));
    if (k->deleted) put_retention_left(b, k);
    buf_put(b, S("</Properties>"));
    if (cw->metadata) xml_metadata(b, k->metadata, k->metadata_count);
    buf_put(b, S("</Container>"));
    return OK;
}

err blob_list_containers(ops_request *r, ops_response *w) {
    store_container_list q = {.prefix = ops_param(r, "prefix"), .marker = ops_param(r, "marker")};
    size_t asked;
    TRY(blob_enter(r));
    TRY(blob_maxresults(r, &asked));
    TRY(read_include(r, &q));
    q.max = asked > 0 ? asked : STORE_LIST_MAX;
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<EnumerationResults ServiceEndpoint=\""));
    xml_put(&b, blob_endpoint(r));
    buf_put(&b, S("\">"));
    if (q.prefix.len > 0) xml_element_encoded(&b, "Prefix", q.prefix);
    if (q.marker.len > 0) xml_element_encoded(&b, "Marker", q.marker);
    if (asked > 0) xml_element_u64(&b, "MaxResults", asked);
    buf_put(&b, S("<Containers>"));
    container_writer cw = {&b, q.metadata};
    slice marker = SLICE_NONE;
    err e = store_container_scan(r->server->store, ops_call(r), r->account, &q, each_container, &cw,
                                 &marker);
    if (e != OK) {
        buf_done(&b);
        return e;
    }
    buf_put(&b, S("</Containers>"));
    xml_element(&b, "NextMarker", marker);
    buf_put(&b, S("</EnumerationResults>"));
    return xml_answer(w, &b);
}

/* ---- Get Blob Service Properties ----------------------------------------------------------------- */

static void put_retention(buf *b, const char *name, const store_retention *v) {
    slice n = slice_str(name);
    buf_byte(b, '<');
    buf_put(b, n);
    buf_byte(b, '>');
    xml_element_bool(b, "Enabled", v->enabled);
    if (v->enabled) xml_element_u64(b, "Days", v->days);
    buf_put(b, S("</"));
    buf_put(b, n);
    buf_byte(b, '>');
}

static void put_metrics(buf *b, const struct store_metrics *m) {
    buf_put(b, S("<Version>1.0</Version>"));
    xml_element_bool(b, "Enabled", m->enabled);
    if (m->enabled) xml_element_bool(b, "IncludeAPIs", m->include_apis);
    put_retention(b, "RetentionPolicy", &m->retention);
}

static void put_cors(buf *b, const store_cors_rule *rule) {
    buf_put(b, S("<CorsRule>"));
    xml_element(b, "AllowedMethods", rule->methods);
    xml_element(b, "AllowedOrigins", rule->origins);
    xml_element(b, "AllowedHeaders", rule->allowed_headers);
    xml_element(b, "ExposedHeaders", rule->exposed_headers);
    xml_element_u64(b, "MaxAgeInSeconds", rule->max_age_s);
    buf_put(b, S("</CorsRule>"));
}

static void put_delete_retention(buf *b, const store_service *v) {
    buf_put(b, S("<DeleteRetentionPolicy>"));
    xml_element_bool(b, "Enabled", v->delete_retention.enabled);
    if (v->delete_retention.enabled) {
        xml_element_u64(b, "Days", v->delete_retention.days);
        xml_element_bool(b, "AllowPermanentDelete", v->delete_permanent);
    }
    buf_put(b, S("</DeleteRetentionPolicy>"));
}

static void put_website(buf *b, const store_service *v) {
    buf_put(b, S("<StaticWebsite>"));
    xml_element_bool(b, "Enabled", v->website);
    if (v->website_index.len > 0) xml_element(b, "IndexDocument", v->website_index);
    if (v->website_default_path.len > 0)
        xml_element(b, "DefaultIndexDocumentPath", v->website_default_path);
    if (v->website_error.len > 0) xml_element(b, "ErrorDocument404Path", v->website_error);
    buf_put(b, S("</StaticWebsite>"));
}

void blob_service_render(buf *b, const store_service *v) {
    buf_put(b, XML_HEAD);
    buf_put(b, S("<StorageServiceProperties><Logging><Version>1.0</Version>"));
    xml_element_bool(b, "Read", v->log_read);
    xml_element_bool(b, "Write", v->log_write);
    xml_element_bool(b, "Delete", v->log_delete);
    put_retention(b, "RetentionPolicy", &v->log_retention);
    buf_put(b, S("</Logging><HourMetrics>"));
    put_metrics(b, &v->hour);
    buf_put(b, S("</HourMetrics><MinuteMetrics>"));
    put_metrics(b, &v->minute);
    buf_put(b, S("</MinuteMetrics>"));
    if (v->cors_count == 0) {
        buf_put(b, S("<Cors />"));
    } else {
        buf_put(b, S("<Cors>"));
        for (size_t i = 0; i < v->cors_count; i++) put_cors(b, &v->cors[i]);
        buf_put(b, S("</Cors>"));
    }
    if (v->default_version.len > 0) xml_element(b, "DefaultServiceVersion", v->default_version);
    put_delete_retention(b, v);
    put_website(b, v);
    buf_put(b, S("</StorageServiceProperties>"));
}

err blob_get_service_properties(ops_request *r, ops_response *w) {
    store_service v;
    TRY(blob_enter(r));
    TRY(store_service_get(r->server->store, ops_call(r), r->account, &v));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    blob_service_render(&b, &v);
    return xml_answer(w, &b);
}

/* ---- Set Blob Service Properties ----------------------------------------------------------------- */

enum section {
    NO_SECTION,
    LOGGING,
    HOUR,
    MINUTE,
    CORS,
    DEFAULT_VERSION,
    DELETE_RETENTION,
    WEBSITE
};

/* The document over what stands: an element that is there replaces its part of `v`. */
typedef struct service_parse {
    arena *arena;
    store_service *v;
    enum section section;
    bool retention, rule; /* inside RetentionPolicy, CorsRule */
    bool has_days, has_age;
} service_parse;

static enum section section_of(slice name) {
    static const struct {
        const char *name;
        enum section section;
    } sections[] = {{"Logging", LOGGING},
                    {"HourMetrics", HOUR},
                    {"MinuteMetrics", MINUTE},
                    {"Cors", CORS},
                    {"DefaultServiceVersion", DEFAULT_VERSION},
                    {"DeleteRetentionPolicy", DELETE_RETENTION},
                    {"StaticWebsite", WEBSITE}};
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        if (slice_eq(name, slice_str(sections[i].name))) return sections[i].section;
    return NO_SECTION;
}

static struct store_metrics *metrics_of(service_parse *p) {
    return p->section == HOUR ? &p->v->hour : p->section == MINUTE ? &p->v->minute : NULL;
}

static store_retention *retention_of(service_parse *p) {
    if (p->section == DELETE_RETENTION) return &p->v->delete_retention;
    if (!p->retention) return NULL;
    return p->section == LOGGING ? &p->v->log_retention : &metrics_of(p)->retention;
}

static void reset_section(service_parse *p) {
    store_service *v = p->v;
    p->has_days = false;
    if (p->section == LOGGING) {
        v->log_read = v->log_write = v->log_delete = false;
        v->log_retention = (store_retention){0};
    } else if (metrics_of(p) != NULL) {
        *metrics_of(p) = (struct store_metrics){0};
    } else if (p->section == CORS) {
        v->cors_count = 0;
    } else if (p->section == DELETE_RETENTION) {
        v->delete_retention = (store_retention){0};
        v->delete_permanent = false;
        v->delete_permanent = false;
    } else if (p->section == WEBSITE) {
        v->website = false;
        v->website_index = v->website_error = v->website_default_path = SLICE_NONE;
    }
}

static err open_inside(service_parse *p, unsigned depth, slice name) {
    bool takes_policy = p->section == LOGGING || metrics_of(p) != NULL;
    if (depth == 3 && takes_policy && slice_eq(name, S("RetentionPolicy"))) {
        p->retention = true;
        p->has_days = false;
    } else if (depth == 3 && p->section == CORS) {
        if (!slice_eq(name, S("CorsRule"))) return xml_unsupported(name);
        ENSURE(p->v->cors_count < STORE_CORS_RULES_MAX, ERR_INVALID_XML_DOCUMENT,
               "Cors: at most %d rules", STORE_CORS_RULES_MAX);
        p->v->cors[p->v->cors_count++] = (store_cors_rule){0};
        p->rule = true;
        p->has_age = false;
    }
    return OK;
}

static err service_open(void *ctx, unsigned depth, slice name) {
    service_parse *p = ctx;
    if (depth == 1)
        return slice_eq(name, S("StorageServiceProperties")) ? OK : xml_unsupported(name);
    if (depth > 2) return open_inside(p, depth, name);
    p->section = section_of(name);
    if (p->section == NO_SECTION) return xml_unsupported(name);
    reset_section(p);
    return OK;
}

static err end_retention(const service_parse *p, const store_retention *v) {
    ENSURE(!v->enabled || p->has_days, ERR_MISSING_REQUIRED_XML_NODE,
           "a retention that is enabled needs Days");
    return OK;
}

static err retention_value(service_parse *p, store_retention *v, slice name, slice text) {
    uint64_t days;
    if (slice_eq(name, S("Enabled"))) return xml_bool(name, text, &v->enabled);
    if (slice_eq(name, S("AllowPermanentDelete")) && p->section == DELETE_RETENTION)
        return xml_bool(name, text, &p->v->delete_permanent);
    if (!slice_eq(name, S("Days"))) return xml_unsupported(name);
    TRY(xml_u64(name, text, RETENTION_DAYS_MAX, &days));
    ENSURE(days > 0, ERR_INVALID_XML_NODE_VALUE, "Days is 1 to %d", RETENTION_DAYS_MAX);
    v->days = (uint32_t)days;
    p->has_days = true;
    return OK;
}

static err cors_value(service_parse *p, slice name, slice text) {
    MUST(p->v->cors_count > 0);
    store_cors_rule *rule = &p->v->cors[p->v->cors_count - 1];
    slice kept = arena_dup(p->arena, text);
    if (slice_eq(name, S("AllowedOrigins")))
        rule->origins = kept;
    else if (slice_eq(name, S("AllowedMethods")))
        rule->methods = kept;
    else if (slice_eq(name, S("AllowedHeaders")))
        rule->allowed_headers = kept;
    else if (slice_eq(name, S("ExposedHeaders")))
        rule->exposed_headers = kept;
    else if (slice_eq(name, S("MaxAgeInSeconds")))
        return xml_u64(name, text, CORS_AGE_MAX, &rule->max_age_s);
    else
        return xml_unsupported(name);
    return OK;
}

static err website_value(service_parse *p, slice name, slice text) {
    slice kept = arena_dup(p->arena, text);
    if (slice_eq(name, S("Enabled"))) return xml_bool(name, text, &p->v->website);
    if (slice_eq(name, S("IndexDocument")))
        p->v->website_index = kept;
    else if (slice_eq(name, S("ErrorDocument404Path")))
        p->v->website_error = kept;
    else if (slice_eq(name, S("DefaultIndexDocumentPath")))
        p->v->website_default_path = kept;
    else
        return xml_unsupported(name);
    return OK;
}

static err logging_value(service_parse *p, slice name, slice text) {
    bool *to = slice_eq(name, S("Read"))     ? &p->v->log_read
               : slice_eq(name, S("Write"))  ? &p->v->log_write
               : slice_eq(name, S("Delete")) ? &p->v->log_delete
                                             : NULL;
    return to != NULL ? xml_bool(name, text, to) : xml_unsupported(name);
}

static err metrics_value(struct store_metrics *m, slice name, slice text) {
    if (slice_eq(name, S("Enabled"))) return xml_bool(name, text, &m->enabled);
    if (slice_eq(name, S("IncludeAPIs"))) return xml_bool(name, text, &m->include_apis);
    return xml_unsupported(name);
}

/* An element at depth 3 or 4 that holds a value. */
static err service_value(service_parse *p, unsigned depth, slice name, slice text) {
    store_retention *retention = retention_of(p);
    bool deeper = p->retention || p->rule;
    if (depth != (deeper ? 4u : 3u)) return xml_unsupported(name);
    if (retention != NULL) return retention_value(p, retention, name, text);
    if (p->rule) return cors_value(p, name, text);
    if (p->section == WEBSITE) return website_value(p, name, text);
    bool versioned = p->section == LOGGING || metrics_of(p) != NULL;
    if (versioned && slice_eq(name, S("Version"))) {
        ENSURE(slice_eq(text, S("1.0")) || slice_eq(text, S("2.0")), ERR_INVALID_XML_NODE_VALUE,
               "Version: '%.*s' is not 1.0", SLICE_ARG(slice_take(text, 32)));
        return OK;
    }
    if (p->section == LOGGING) return logging_value(p, name, text);
    if (metrics_of(p) != NULL) return metrics_value(metrics_of(p), name, text);
    return xml_unsupported(name);
}

static bool is_date(slice s) {
    int64_t us;
    return s.len == 10 && time_parse_iso(s, &us) == OK;
}

/* Deleted blobs are not kept yet: who turns soft delete on must not believe they were. */
static err end_section(service_parse *p, slice text) {
    if (p->section == DEFAULT_VERSION) {
        ENSURE(is_date(text), ERR_INVALID_XML_NODE_VALUE,
               "DefaultServiceVersion: '%.*s' is not a date like 2026-06-06",
               SLICE_ARG(slice_take(text, 32)));
        p->v->default_version = arena_dup(p->arena, text);
    } else if (p->section == DELETE_RETENTION) {
        TRY(end_retention(p, &p->v->delete_retention));
    } else {
        ENSURE(text.len == 0, ERR_INVALID_XML_DOCUMENT, "there is text where elements belong");
    }
    return OK;
}

static err service_close(void *ctx, unsigned depth, slice name, slice text) {
    service_parse *p = ctx;
    MUST(p->v != NULL);
    if (depth == 1) {
        ENSURE(text.len == 0, ERR_INVALID_XML_DOCUMENT, "there is text where elements belong");
        return OK;
    }
    if (depth == 2) return end_section(p, text);
    if (depth == 3 && p->retention) {
        store_retention *v = retention_of(p);
        p->retention = false;
        return end_retention(p, v);
    }
    if (depth == 3 && p->rule) {
        p->rule = false;
        return blob_cors_rule_check(&p->v->cors[p->v->cors_count - 1]);
    }
    return service_value(p, depth, name, text);
}

err blob_service_parse(slice document, arena *a, store_service *merge_into) {
    static const xml_visitor visitor = {service_open, service_close};
    service_parse p = {.arena = a, .v = merge_into};
    return xml_read(document, &visitor, &p);
}

typedef struct service_document {
    arena *arena;
    slice text;
} service_document;

static err merge_service(void *ctx, store_service *v) {
    service_document *d = ctx;
    return blob_service_parse(d->text, d->arena, v);
}

err blob_set_service_properties(ops_request *r, ops_response *w) {
    service_document d = {.arena = r->arena};
    TRY(blob_enter(r));
    TRY(blob_body_read(r, BLOB_DOCUMENT_MAX, &d.text));
    TRY(store_service_change(r->server->store, ops_call(r), r->account, merge_service, &d));
    w->status = 202;
    return OK;
}

/* ---- small ones ---------------------------------------------------------------------------------- */

/* The secondary address reads the same store: it is never behind. */
err blob_get_stats(ops_request *r, ops_response *w) {
    TRY(blob_enter(r));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<StorageServiceStats><GeoReplication><Status>live</Status>"));
    xml_http_date(&b, "LastSyncTime", clock_wall_us());
    buf_put(&b, S("</GeoReplication></StorageServiceStats>"));
    return xml_answer(w, &b);
}

err blob_get_account_info(ops_request *r, ops_response *w) {
    TRY(blob_enter(r));
    w->status = 200;
    ops_set(w, "x-ms-sku-name", S("Standard_RAGRS"));
    ops_set(w, "x-ms-account-kind", S("StorageV2"));
    ops_set(w, "x-ms-is-hns-enabled", S("false"));
    return OK;
}
