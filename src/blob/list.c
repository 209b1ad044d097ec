/* List Blobs, flat and by hierarchy, and what it writes for one entry.
 *
 * A page of 5,000 entries is some 4 MB of XML, so the entries are written from constant runs, with
 * digits put down directly, and dates are formatted once for all blobs of a second. */
#include "blob/internal.h"

#define LIT(b, text) buf_put((b), S(text))

/* ---- one entry ----------------------------------------------------------------------------------- */

void blob_list_writer_init(blob_list_writer *lw, buf *b, const store_blob_list *q) {
    *lw = (blob_list_writer){.b = b,
                             .metadata = q->metadata,
                             .copy = q->copy,
                             .tags = q->tags,
                             .second = {INT64_MIN, INT64_MIN}};
}

/* Times of blobs beside each other are mostly of one second; two places, for creation and change.
 */
static void put_time(blob_list_writer *lw, int which, int64_t us) {
    int64_t second = us / 1000000;
    if (second != lw->second[which]) {
        buf d;
        buf_init_fixed(&d, lw->time[which], sizeof lw->time[which]);
        time_put_http(&d, us);
        MUST(d.len == 29);
        lw->second[which] = second;
    }
    buf_put(lw->b, slice_of(lw->time[which], 29));
}

static void put_hex(buf *b, uint64_t v) {
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *p = buf_reserve(b, 18);
    if (p == NULL) return;
    size_t n = 2;
    p[0] = '0';
    p[1] = 'x';
    int shift = 60;
    while (shift > 0 && (v >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) p[n++] = (uint8_t)digits[(v >> shift) & 15];
    buf_advance(b, n);
}

#define PUT_TEXT(b, name, text)                                                                    \
    do {                                                                                           \
        slice put_text_ = (text);                                                                  \
        if (put_text_.len == 0) {                                                                  \
            LIT(b, "<" name " />");                                                                \
        } else {                                                                                   \
            LIT(b, "<" name ">");                                                                  \
            xml_put((b), put_text_);                                                               \
            LIT(b, "</" name ">");                                                                 \
        }                                                                                          \
    } while (0)

static void put_sums(buf *b, const store_blob *blob) {
    if (blob->has_crc64) {
        uint8_t le[8];
        for (int i = 0; i < 8; i++) le[i] = (uint8_t)(blob->crc64 >> (8 * i));
        LIT(b, "<Content-CRC64>");
        base64_put(b, slice_of(le, 8));
        LIT(b, "</Content-CRC64>");
    } else {
        LIT(b, "<Content-CRC64 />");
    }
    if (blob->http.has_md5) {
        LIT(b, "<Content-MD5>");
        base64_put(b, slice_of(blob->http.md5, 16));
        LIT(b, "</Content-MD5>");
    } else {
        LIT(b, "<Content-MD5 />");
    }
}

static void put_tier(blob_list_writer *lw, const store_blob *blob) {
    buf *b = lw->b;
    if (blob->tier == STORE_TIER_INFERRED) {
        LIT(b, "<AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>");
        return;
    }
    LIT(b, "<AccessTier>");
    buf_put(b, blob_tier_name(blob->tier));
    LIT(b, "</AccessTier>");
    if (blob->rehydrate_to) {
        LIT(b, "<ArchiveStatus>");
        buf_put(b, blob_archive_status(blob->rehydrate_to));
        LIT(b, "</ArchiveStatus><RehydratePriority>");
        buf_put(b, blob->rehydrate_high ? S("High") : S("Standard"));
        LIT(b, "</RehydratePriority>");
    }
    if (blob->tier_changed_us == STORE_TIME_NONE) return;
    LIT(b, "<AccessTierChangeTime>");
    put_time(lw, 1, blob->tier_changed_us);
    LIT(b, "</AccessTierChangeTime>");
}

/* Append and page blobs have no tier. */
static void put_other_kind(buf *b, const store_blob *blob) {
    LIT(b, "<BlobType>");
    buf_put(b, blob_type_name(blob->type));
    LIT(b, "</BlobType>");
    if (blob->sealed) LIT(b, "<Sealed>true</Sealed>");
    if (blob->type != STORE_PAGE_BLOB) return;
    LIT(b, "<x-ms-blob-sequence-number>");
    buf_u64(b, blob->sequence);
    LIT(b, "</x-ms-blob-sequence-number>");
}

static void put_committed(blob_list_writer *lw, const store_blob *blob) {
    buf *b = lw->b;
    const store_http *h = &blob->http;
    LIT(b, "<Creation-Time>");
    put_time(lw, 0, blob->created_us);
    LIT(b, "</Creation-Time><Last-Modified>");
    put_time(lw, 1, blob->modified_us);
    LIT(b, "</Last-Modified><Etag>");
    put_hex(b, blob->etag);
    LIT(b, "</Etag><Content-Length>");
    buf_u64(b, blob->length);
    LIT(b, "</Content-Length>");
    PUT_TEXT(b, "Content-Type", h->content_type);
    PUT_TEXT(b, "Content-Encoding", h->content_encoding);
    PUT_TEXT(b, "Content-Language", h->content_language);
    put_sums(b, blob);
    PUT_TEXT(b, "Cache-Control", h->cache_control);
    PUT_TEXT(b, "Content-Disposition", h->content_disposition);
    if (blob->type == STORE_BLOCK_BLOB) {
        LIT(b, "<BlobType>BlockBlob</BlobType>");
        put_tier(lw, blob);
    } else {
        put_other_kind(b, blob);
    }
    if (lw->immutability && blob->immutable_mode != STORE_MUTABLE) {
        xml_http_date(b, "ImmutabilityPolicyUntilDate", blob->immutable_until_us);
        xml_element(b, "ImmutabilityPolicyMode", blob_immutability_mode(blob->immutable_mode));
    }
    if (lw->legal_hold && blob->legal_hold) LIT(b, "<LegalHold>true</LegalHold>");
    if (blob->accessed_us > 0) xml_http_date(b, "LastAccessTime", blob->accessed_us);
    if (blob->expires_us > 0) xml_http_date(b, "Expiry-Time", blob->expires_us);
    if (lw->copy) blob_copy_list(b, &blob->copy);
    if (blob->tag_count > 0) {
        LIT(b, "<TagCount>");
        buf_u64(b, blob->tag_count);
        LIT(b, "</TagCount>");
    }
}

static void put_name(buf *b, slice name) {
    if (xml_can_carry(name)) {
        LIT(b, "<Name>");
        xml_put(b, name);
    } else {
        LIT(b, "<Name Encoded=\"true\">");
        percent_put(b, name, "");
    }
    LIT(b, "</Name>");
}

void blob_list_lease(buf *b, const store_lease *l) {
    if (l->id.len == 0) {
        LIT(b, "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>");
        return;
    }
    store_lease_state state = store_lease_state_of(l, clock_wall_us());
    buf_put(b, store_lease_locked(state) ? S("<LeaseStatus>locked</LeaseStatus><LeaseState>")
                                         : S("<LeaseStatus>unlocked</LeaseStatus><LeaseState>"));
    buf_put(b, blob_lease_name(state));
    LIT(b, "</LeaseState>");
    if (state != STORE_LEASE_LEASED) return;
    buf_put(b, l->duration_s ? S("<LeaseDuration>fixed</LeaseDuration>")
                             : S("<LeaseDuration>infinite</LeaseDuration>"));
}

/* Which of the blob's states it is, as "List Blobs" orders the elements. */
static void put_moment(blob_list_writer *lw, const store_blob *blob) {
    buf *b = lw->b;
    if (blob->snapshot) {
        LIT(b, "<Snapshot>");
        time_put_tick(b, blob->snapshot);
        LIT(b, "</Snapshot>");
    } else if (blob->version && !blob->versions_only) {
        LIT(b, "<VersionId>");
        time_put_tick(b, blob->version);
        LIT(b, "</VersionId>");
        if (blob->current) LIT(b, "<IsCurrentVersion>true</IsCurrentVersion>");
    }
    if (blob->until_us > 0) LIT(b, "<Deleted>true</Deleted>");
    if (blob->versions_only) LIT(b, "<HasVersionsOnly>true</HasVersionsOnly>");
}

#define DAY_US (24ll * 3600 * 1000000)

static void put_deletion(blob_list_writer *lw, const store_blob *blob) {
    buf *b = lw->b;
    int64_t left = blob->until_us - clock_wall_us();
    LIT(b, "<DeletedTime>");
    put_time(lw, 1, blob->deleted_us);
    LIT(b, "</DeletedTime><RemainingRetentionDays>");
    buf_u64(b, left > 0 ? (uint64_t)(left / DAY_US) : 0);
    LIT(b, "</RemainingRetentionDays>");
}

void blob_list_entry(blob_list_writer *lw, const store_blob *blob) {
    buf *b = lw->b;
    LIT(b, "<Blob>");
    put_name(b, blob->name);
    if (!blob->current || blob->version) put_moment(lw, blob);
    LIT(b, "<Properties>");
    if (blob->uncommitted)
        LIT(b, "<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>");
    else
        put_committed(lw, blob);
    if (blob->current || blob->uncommitted) blob_list_lease(b, &blob->lease);
    LIT(b, "<ServerEncrypted>true</ServerEncrypted>");
    if (blob->key_sha256.len > 0) {
        LIT(b, "<CustomerProvidedKeySha256>");
        base64_put(b, blob->key_sha256);
        LIT(b, "</CustomerProvidedKeySha256>");
    }
    if (blob->scope.len > 0) {
        LIT(b, "<EncryptionScope>");
        buf_put(b, blob->scope);
        LIT(b, "</EncryptionScope>");
    }
    if (blob->until_us > 0) put_deletion(lw, blob);
    LIT(b, "</Properties>");
    if (lw->metadata && blob->key_sha256.len > 0) /* shown to who brings the key, by Get Blob … */
        LIT(b, "<Metadata Encrypted=\"true\" />");
    else if (lw->metadata)
        xml_metadata(b, blob->metadata, blob->metadata_count);
    if (lw->tags && blob->tag_count > 0) {
        LIT(b, "<Tags>");
        blob_tags_put(b, blob->tags, blob->tag_count);
        LIT(b, "</Tags>");
    }
    LIT(b, "<OrMetadata /></Blob>");
}

void blob_list_prefix(blob_list_writer *lw, slice prefix) {
    LIT(lw->b, "<BlobPrefix>");
    put_name(lw->b, prefix);
    LIT(lw->b, "</BlobPrefix>");
}

/* ---- the page ------------------------------------------------------------------------------------ */

err blob_maxresults(const ops_request *r, size_t *ret) {
    slice v = ops_param(r, "maxresults");
    uint64_t n = 0;
    *ret = 0;
    if (v.p == NULL) return OK;
    ENSURE(slice_u64(v, &n) == OK, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "maxresults: '%.*s' is not a number", SLICE_ARG(slice_take(v, 32)));
    ENSURE(n > 0, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE, "maxresults is 1 to %d", STORE_LIST_MAX);
    *ret = n < STORE_LIST_MAX ? (size_t)n : STORE_LIST_MAX;
    return OK;
}

/* Those of features that are not here (tags, immutability, …) have nothing to add. */
static err read_include(const ops_request *r, store_blob_list *q) {
    static const char *const known[] = {"copy",
                                        "deleted",
                                        "deletedwithversions",
                                        "immutabilitypolicy",
                                        "legalhold",
                                        "metadata",
                                        "permissions",
                                        "snapshots",
                                        "tags",
                                        "uncommittedblobs",
                                        "versions"};
    slice rest = ops_param(r, "include"), part;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        bool found = part.len == 0;
        for (size_t i = 0; i < ARRAY_LEN(known) && !found; i++)
            found = slice_eq_nocase(part, slice_str(known[i]));
        ENSURE(found, ERR_INVALID_QUERY_PARAMETER_VALUE, "include: '%.*s' is not known",
               SLICE_ARG(slice_take(part, 32)));
        q->copy |= slice_eq_nocase(part, S("copy"));
        q->metadata |= slice_eq_nocase(part, S("metadata"));
        q->tags |= slice_eq_nocase(part, S("tags"));
        q->uncommitted |= slice_eq_nocase(part, S("uncommittedblobs"));
        q->snapshots |= slice_eq_nocase(part, S("snapshots"));
        q->versions |= slice_eq_nocase(part, S("versions"));
        q->deleted |= slice_eq_nocase(part, S("deleted"));
        q->deleted_with_versions |= slice_eq_nocase(part, S("deletedwithversions"));
    }
    return OK;
}

static err read_query(const ops_request *r, store_blob_list *q, size_t *ret_asked) {
    *q = (store_blob_list){.prefix = ops_param(r, "prefix"),
                           .delimiter = ops_param(r, "delimiter"),
                           .marker = ops_param(r, "marker"),
                           .start_from = ops_param(r, "startFrom")};
    TRY(blob_maxresults(r, ret_asked));
    q->max = *ret_asked > 0 ? *ret_asked : STORE_LIST_MAX;
    TRY(read_include(r, q));
    ENSURE(!q->tags || ops_may_tag(r), ERR_AUTHORIZATION_PERMISSION_MISMATCH,
           "include=tags needs the permission to read tags (t)");
    return OK;
}

static void begin_page(const ops_request *r, buf *b, const store_blob_list *q, size_t asked) {
    buf_put(b, XML_HEAD);
    LIT(b, "<EnumerationResults ServiceEndpoint=\"");
    xml_put(b, blob_endpoint(r));
    LIT(b, "\" ContainerName=\"");
    xml_put(b, r->container);
    LIT(b, "\">");
    if (q->prefix.len > 0) xml_element_encoded(b, "Prefix", q->prefix);
    if (q->marker.len > 0) xml_element_encoded(b, "Marker", q->marker);
    if (q->start_from.len > 0) xml_element_encoded(b, "StartFrom", q->start_from);
    if (asked > 0) xml_element_u64(b, "MaxResults", asked);
    if (q->delimiter.len > 0) xml_element_encoded(b, "Delimiter", q->delimiter);
    LIT(b, "<Blobs>");
}

static bool includes(const ops_request *r, slice what) {
    slice rest = ops_param(r, "include"), part;
    while (slice_split(&rest, ',', &part))
        if (slice_eq_nocase(slice_trim(part), what)) return true;
    return false;
}

static err each(void *ctx, const store_blob *blob, slice prefix) {
    blob_list_writer *lw = ctx;
    if (lw->b->len > BLOB_PAGE_BYTES) return ERR_TOO_LARGE;
    if (blob != NULL)
        blob_list_entry(lw, blob);
    else
        blob_list_prefix(lw, prefix);
    return OK;
}

err blob_list_blobs(ops_request *r, ops_response *w) {
    store_blob_list q;
    size_t asked;
    store_conditions cond;
    TRY(blob_enter(r));
    TRY(read_query(r, &q, &asked));
    TRY(ops_conditions(r, &cond));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_container_check(k, &cond));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    begin_page(r, &b, &q, asked);
    blob_list_writer lw;
    blob_list_writer_init(&lw, &b, &q);
    lw.immutability = includes(r, S("immutabilitypolicy"));
    lw.legal_hold = includes(r, S("legalhold"));
    slice marker = SLICE_NONE;
    err e = store_blob_scan(r->server->store, ops_call(r), k, &q, each, &lw, &marker);
    if (e != OK) {
        buf_done(&b);
        return e;
    }
    LIT(&b, "</Blobs>");
    xml_element(&b, "NextMarker", marker);
    LIT(&b, "</EnumerationResults>");
    return xml_answer(w, &b);
}
