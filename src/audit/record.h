/* What one record of an access says, and in what form.
 *
 * An entry is canonical JSON (RFC 8785) and holds no direct identifier: accounts, containers and actors stand
 * there as pseudonyms (store_pseudonym), a blob's name and a justification as commitments, an address as its
 * network. What opens them goes into the opening, which the store seals and never publishes.
 *
 *   {"action":"Get Blob",
 *    "actor":{"id":HEX,"issuer":HEX,"kind":"key","strength":"shared-secret"},
 *    "asked":HEX,
 *    "class":"consultation",
 *    "client":{"network":"192.0.2.0/24","request":UUID},
 *    "decision":"account key",
 *    "id":UUIDv7,
 *    "object":{"account":HEX,"bytes":N,"container":HEX,"crc64":BASE64,"etag":"0x…","hold":true,"md5":BASE64,
 *              "name":HEX,"retain":TIME,"snapshot":TIME,"version":TIME},
 *    "outcome":{"code":"BlobNotFound","result":"refused","status":404},
 *    "purpose":{"code":"TREAT","default":true,"reason":HEX},
 *    "recipient":HEX,
 *    "refusals":{"count":N,"first":TIME,"last":TIME},
 *    "region":"local",
 *    "retention":{"before":N,"count":N,"keep":SECONDS,"until":TIME,"was":SECONDS},
 *    "time":TIME,"v":1}
 *
 * "asked" commits to what else a command was given, as what a search of the record looked for.
 * "refusals": the entry stands for so many, which left none of their own (docs/decisions/0025).
 * Members without a value are left out. A commitment is SHA-256(salt ‖ value), the salt of 16 random bytes.
 *
 * What it needs from below: crypto, base. */
#pragma once

#include "crypto/crypto.h"

#define AUDIT_SALT_LEN       16
#define AUDIT_COMMITMENT_LEN CRYPTO_SHA256_LEN
#define AUDIT_OPENING_MAX    12288
#define AUDIT_PURPOSE_MAX    64   /* of its code: letters, digits, '.', '_' and '-' */
#define AUDIT_TEXT_MAX       3072 /* of a name as records keep it: no valid one is longer */
#define AUDIT_REASON_MAX     1024 /* bytes of UTF-8 */
#define AUDIT_ASKED_MAX      1024 /* likewise */
#define AUDIT_RECORD_VERSION 1

typedef struct audit_record {
    int64_t time_us;
    slice region;
    const char *action, *audit_class;
    const char *actor_kind, *strength;
    slice actor, issuer; /* pseudonyms, raw; empty: none */
    const char *decision;
    slice peer_ip; /* text; only its network is told */
    slice request_id;
    slice account, container; /* pseudonyms, raw */
    slice name;               /* commitment, raw */
    slice asked;              /* likewise */
    bool has_object;          /* the next ones are known */
    uint64_t etag, bytes, snapshot, version;
    bool hold, has_crc64, has_md5;
    uint64_t crc64;
    slice md5;
    int64_t retain_us;         /* INT64_MIN: no policy */
    const char *result, *code; /* "ok", "refused", "failed"; code: of an error, or NULL */
    int status;                /* 0: not known (a change carries the entry) */
    slice purpose, reason;     /* code; commitment, raw */
    bool purpose_default;      /* the client did not say one, and its key has it by default */
    bool recipient;            /* the actor is who it was disclosed to */
    /* Of the log itself; NULL: none. */
    const struct audit_retained {
        uint64_t before,
            count;        /* entries below `before`, the last count of them, are removed; 0: none */
        int64_t until_us; /* they are all older */
        uint64_t keep_s, was_s; /* how long entries are kept, and were; 0: for ever */
    } * retained;
    uint64_t refusals;         /* that it stands for; 0: it is no summary */
    int64_t first_us, last_us; /* of them */
} audit_record;

void audit_record_put(buf *out, const audit_record *r);
/* A name that a request gives, as its record keeps it: requests that are refused may give longer ones than any
 * valid name, which are cut at the end of a character, and bytes that are no UTF-8, which are left out. */
slice audit_text(slice name);

/* A fresh salt and the commitment to a value under it. */
void audit_commit(slice value, uint8_t ret_salt[AUDIT_SALT_LEN], uint8_t ret[AUDIT_COMMITMENT_LEN]);

/* What opens an entry. Bytes as they were; empty: none. */
typedef struct audit_opening {
    slice account, container, blob, name_salt;
    slice address, actor;
    slice reason, reason_salt;
    slice asked, asked_salt;
} audit_opening;
void audit_opening_put(buf *out, const audit_opening *o);
/* Slices point into `in`. ERR_CORRUPT. */
err audit_opening_get(slice in, audit_opening *ret) CHECKED;

/* Whether it is this entry's: what it holds opens the commitments that stand there. */
bool audit_opening_fits(const audit_opening *o, slice entry);

/* "CODE" or "CODE; reason". ERR_INVALID_HEADER_VALUE. */
err audit_purpose_parse(slice text, slice *ret_code, slice *ret_reason) CHECKED;
