/* Private to auth/: what sharedkey.c, sas.c and auth.c share. */
#pragma once

#include "auth/auth.h"

#define AUTH_MAC_LEN 32
/* Azure's tolerance for x-ms-date and Date. */
#define AUTH_CLOCK_SKEW_US (INT64_C(15) * 60 * 1000000)
/* The oldest SAS whose layout this server knows. */
#define AUTH_SAS_OLDEST S("2015-04-05")

/* First header of that name (case-insensitive); p NULL when absent. */
slice auth_header(const auth_request *r, slice name);
/* First parameter of that name (case-sensitive); p NULL when absent. */
slice auth_param(const auth_request *r, slice name);
/* Which of the account's keys made this MAC over text: 0, 1, or -1. Compares in constant time. */
int auth_key_of(const store_account *account, slice text, slice mac);
bool auth_has_letter(slice letters, char c);

/* ---- sharedkey.c: "Authorize with Shared Key" ---- */

/* How the string to sign is written. Azure's own way comes first; the others are what clients in
 * use write differently for the same request, and are tried only when that one does not fit. */
enum {
    AUTH_SORT_BYTES = 1u << 0, /* x-ms- headers sorted by bytes, not by Azure's collation */
    AUTH_FOLD_SPACE = 1u << 1, /* white space inside their values folded to one space */
    AUTH_TOLD = 1u << 2,       /* to tell the sender, whose log may keep it: without secrets */
};
typedef struct auth_signer {
    bool lite;
    slice account; /* as Authorization names it */
    slice mac;     /* AUTH_MAC_LEN bytes */
} auth_signer;
/* value: the Authorization header. ERR_INVALID_AUTHENTICATION_INFO. */
err auth_signer_parse(arena *a, slice value, auth_signer *ret) CHECKED;
/* The string to sign of the request. */
slice auth_shared_key_text(arena *a, const auth_request *r, const auth_signer *by, unsigned how);
/* Azure's order of header names, which ignores hyphens at first: <0, 0, >0. Lower case. */
int auth_header_order(slice a, slice b);
err auth_by_shared_key(arena *a, const auth_request *r, const store_account *account,
                       slice authorization, auth_caller *ret) CHECKED;

/* ---- sas.c: "Create an account SAS", "Create a service SAS" ---- */

typedef enum auth_sas_field {
    SAS_SV,
    SAS_SS,
    SAS_SRT,
    SAS_SR,
    SAS_SP,
    SAS_ST,
    SAS_SE,
    SAS_SI,
    SAS_SIP,
    SAS_SPR,
    SAS_SES,
    SAS_SDD,
    SAS_SIG,
    SAS_RSCC,
    SAS_RSCD,
    SAS_RSCE,
    SAS_RSCL,
    SAS_RSCT,
    SAS_SNAPSHOT,
    SAS_VERSIONID,
    SAS_SKOID,
    SAS_FIELDS
} auth_sas_field;

typedef struct auth_sas {
    slice f[SAS_FIELDS]; /* p NULL: absent */
} auth_sas;

/* Picks the SAS fields out of the parameters. ERR_AUTHENTICATION_FAILED for one given twice or
 * holding a line feed (which would shift the fields of the string to sign). */
err auth_sas_collect(const auth_request *r, auth_sas *ret) CHECKED;
slice auth_account_sas_text(arena *a, slice account, const auth_sas *sas);
/* resource: "/blob/account/container[/blob]", decoded. */
slice auth_service_sas_text(arena *a, slice resource, const auth_sas *sas);
err auth_by_sas(store *s, store_call c, const auth_request *r, const store_account *account,
                const auth_sas *sas, auth_caller *ret) CHECKED;
/* Is the peer (IPv4, IPv6 or IPv4-mapped text) in sip's address or range? False for malformed text.
 */
bool auth_ip_in(slice sip, slice peer);
