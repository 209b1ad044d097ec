/* auth: who asks, and whether they may. Shared Key, Shared Key Lite, account SAS, service SAS with
 * stored access policies, anonymous access.
 *
 * What it promises: signatures are compared in constant time; no secret and no signature reaches an
 * error's detail; a decision depends only on the request, the account's keys, the container's
 * policy and public access, and the clock. Azure's reference: "Authorize with Shared Key", "Create
 * an account SAS", "Create a service SAS", "Define a stored access policy". What it needs from
 * below: store (accounts, containers), crypto (HMAC), base. */
#pragma once

#include "store/store.h"

/* The request, as far as signatures and decisions see it. Slices live as long as the request. */
typedef struct auth_request {
    slice method;        /* "GET" */
    slice path_raw;      /* the path of the request target as sent, still percent-encoded */
    const pair *headers; /* as received, values trimmed */
    size_t header_count;
    const pair *params; /* query parameters, names and values percent-decoded, in order */
    size_t param_count;
    slice version; /* x-ms-version, also when it stands in the request around this one; or empty */
    slice account; /* from the address, without "-secondary" */
    bool secondary;
    slice container, blob; /* decoded; empty at service or container level */
    bool tls;
    slice peer_ip;    /* text; an IPv4 or IPv6 address */
    bool development; /* the well-known account may sign path-style URLs */
} auth_request;

typedef enum auth_kind {
    AUTH_ANONYMOUS,
    AUTH_SHARED_KEY,
    AUTH_ACCOUNT_SAS,
    AUTH_SERVICE_SAS,
} auth_kind;

/* Who asks: the outcome of verifying a signature. */
typedef struct auth_caller {
    auth_kind kind;
    int key_index;         /* which of the account's keys signed; -1 for anonymous */
    slice version;         /* sv of a SAS; empty otherwise */
    slice permissions;     /* sp, or the stored policy's */
    slice services, types; /* ss and srt of an account SAS */
    slice resource;        /* sr of a service SAS: b, bs, bv, c, d */
    slice policy_id;       /* si */
    slice
        encryption_scope; /* ses: what is written goes under that scope, which who handles it sees to */
    /* Response headers a service SAS overrides (rscc, rscd, rsce, rscl, rsct); empty: none. */
    slice cache_control, content_disposition, content_encoding, content_language, content_type;
} auth_caller;

/* What an operation asks of its caller; a row of the operation table carries one. */
typedef enum auth_public {
    AUTH_PUBLIC_NEVER,
    AUTH_PUBLIC_BLOB,      /* anonymous when the container's access level is blob or container */
    AUTH_PUBLIC_CONTAINER, /* anonymous when it is container */
    AUTH_PUBLIC_ALWAYS     /* health checks, CORS preflight */
} auth_public;
typedef struct auth_need {
    char resource_type; /* srt letter of an account SAS: 's', 'c', 'o'; '*': any of them */
    const char
        *account_any; /* account SAS: one of these permission letters suffices; NULL: refused */
    const char *service_any; /* service SAS: likewise; NULL: refused */
    auth_public anonymous;
    bool writes; /* refused on the secondary */
} auth_need;

/* Verifies the request's signature, SAS validity (times, protocol, address, that the SAS covers the
 * addressed resource) and says who asks. account: as the address names it (not NULL; the caller
 * answers for accounts that do not exist with the same error as for a wrong signature). Errors:
 * ERR_AUTHENTICATION_FAILED (with what was wrong, and for Shared Key the server's string to sign,
 * without secrets that the request brought), ERR_INVALID_AUTHENTICATION_INFO (malformed),
 * ERR_AUTHORIZATION_PROTOCOL_MISMATCH, ERR_AUTHORIZATION_SOURCE_IP_MISMATCH,
 * ERR_NO_AUTHENTICATION_INFORMATION never (anonymous is a kind), ERR_WOULD_BLOCK with c.nowait. */
err auth_identify(store *s, store_call c, const auth_request *r, const store_account *account,
                  auth_caller *ret) CHECKED;

/* Decides. Errors: ERR_AUTHORIZATION_PERMISSION_MISMATCH, ERR_AUTHORIZATION_RESOURCE_TYPE_MISMATCH,
 * ERR_AUTHORIZATION_SERVICE_MISMATCH, ERR_AUTHORIZATION_FAILURE; for anonymous callers
 * ERR_NO_AUTHENTICATION_INFORMATION (401) at levels that are never public, and
 * ERR_RESOURCE_NOT_FOUND (404, as Azure) where the container is private or missing; ERR_WOULD_BLOCK
 * with c.nowait. */
err auth_permit(store *s, store_call c, const auth_request *r, const auth_caller *who,
                const store_account *account, const auth_need *need) CHECKED;

/* What a request to an account that is not there is answered: what one that holds nothing, and whose
 * keys the sender does not have, would answer. Names of accounts cannot be probed. Never OK. */
err auth_unknown_account(store_call c, const auth_request *r, const auth_need *need) CHECKED;

/* Whether the caller may replace a blob that is there. False for a SAS that may create (c) but not
 * write (w): the handler of an operation that replaces content then adds If-None-Match: * to its
 * conditions, so that the store decides in the transaction, and answers
 * ERR_UNAUTHORIZED_BLOB_OVERWRITE for the ERR_BLOB_ALREADY_EXISTS it gets. */
bool auth_may_overwrite(const auth_caller *who);

/* Whether the caller may read and write the tags of what it may reach: "A user with permissions or a
 * SAS token to read or write blobs may not have access to the blob index tags" ("Manage and find
 * Azure Blob data with blob index tags"). */
bool auth_may_tag(const auth_caller *who);
/* Whether the caller may set immutability policies and legal holds (i). */
bool auth_may_protect(const auth_caller *who);
