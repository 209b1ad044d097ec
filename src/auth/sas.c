/* Shared access signatures signed with an account key. References: "Create an account SAS", "Create
 * a service SAS", "Define a stored access policy". User delegation is not here: it needs OAuth.
 *
 * Layouts of the string to sign, by sv (compared as text: all are YYYY-MM-DD):
 *   account  2015-04-05  account sp ss srt st se sip spr sv
 *            2020-12-06  … and ses
 *   service  2015-04-05  sp st se resource si sip spr sv rscc rscd rsce rscl rsct
 *            2018-11-09  … sr and the snapshot (or version) before rscc
 *            2020-12-06  … ses before rscc
 * Later versions (to 2027-03-07) changed only user delegation. Every field ends its line, except
 * the last of a service SAS.
 *
 * What a layout does not sign is not believed: sr is bound by the resource's text before
 * 2018-11-09, sdd by the directory it cuts from the path, ses is ignored before 2020-12-06, and
 * response headers are taken from a service SAS only. */
#include <arpa/inet.h>

#include "auth/auth_internal.h"

static const slice field_names[SAS_FIELDS] = {
    [SAS_SV] = S("sv"),
    [SAS_SS] = S("ss"),
    [SAS_SRT] = S("srt"),
    [SAS_SR] = S("sr"),
    [SAS_SP] = S("sp"),
    [SAS_ST] = S("st"),
    [SAS_SE] = S("se"),
    [SAS_SI] = S("si"),
    [SAS_SIP] = S("sip"),
    [SAS_SPR] = S("spr"),
    [SAS_SES] = S("ses"),
    [SAS_SDD] = S("sdd"),
    [SAS_SIG] = S("sig"),
    [SAS_RSCC] = S("rscc"),
    [SAS_RSCD] = S("rscd"),
    [SAS_RSCE] = S("rsce"),
    [SAS_RSCL] = S("rscl"),
    [SAS_RSCT] = S("rsct"),
    [SAS_SNAPSHOT] = S("snapshot"),
    [SAS_VERSIONID] = S("versionid"),
    [SAS_SKOID] = S("skoid"),
};

err auth_sas_collect(const auth_request *r, auth_sas *ret) {
    auth_sas sas = {0};
    for (size_t i = 0; i < r->param_count; i++) {
        slice name = r->params[i].name, value = r->params[i].value;
        for (int k = 0; k < SAS_FIELDS; k++) {
            if (!slice_eq(name, field_names[k])) continue;
            ENSURE(!sas.f[k].p, ERR_AUTHENTICATION_FAILED,
                   "Signature fields not well formed: %.*s is given twice.", SLICE_ARG(name));
            ENSURE(slice_find(value, 0, '\n') == value.len, ERR_AUTHENTICATION_FAILED,
                   "Signature fields not well formed: %.*s holds a line feed.", SLICE_ARG(name));
            sas.f[k] = value.p ? value : S("");
            break;
        }
    }
    *ret = sas;
    return OK;
}

/* ---- strings to sign ---- */

static bool since(const auth_sas *sas, const char *version) {
    return slice_cmp(sas->f[SAS_SV], slice_str(version)) >= 0;
}

static void text_begin(buf *b, arena *a, const auth_sas *sas, size_t more) {
    size_t n = more + SAS_FIELDS;
    for (int k = 0; k < SAS_FIELDS; k++) n += sas->f[k].len;
    buf_init_arena(b, a, n);
    (void)buf_reserve(b, n);
}

static void line(buf *b, slice s) {
    buf_put(b, s);
    buf_byte(b, '\n');
}

slice auth_account_sas_text(arena *a, slice account, const auth_sas *sas) {
    static const auth_sas_field order[] = {SAS_SP, SAS_SS,  SAS_SRT, SAS_ST,
                                           SAS_SE, SAS_SIP, SAS_SPR, SAS_SV};
    buf b;
    text_begin(&b, a, sas, account.len);
    line(&b, account);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) line(&b, sas->f[order[i]]);
    if (since(sas, "2020-12-06")) line(&b, sas->f[SAS_SES]);
    return buf_slice(&b);
}

/* What sr=bs and sr=bv sign beside the blob's name; empty for all others, whatever the query says.
 */
static slice signed_moment(const auth_sas *sas) {
    if (slice_eq(sas->f[SAS_SR], S("bs"))) return sas->f[SAS_SNAPSHOT];
    if (slice_eq(sas->f[SAS_SR], S("bv"))) return sas->f[SAS_VERSIONID];
    return SLICE_NONE;
}

slice auth_service_sas_text(arena *a, slice resource, const auth_sas *sas) {
    const slice *f = sas->f;
    buf b;
    text_begin(&b, a, sas, resource.len);
    line(&b, f[SAS_SP]);
    line(&b, f[SAS_ST]);
    line(&b, f[SAS_SE]);
    line(&b, resource);
    line(&b, f[SAS_SI]);
    line(&b, f[SAS_SIP]);
    line(&b, f[SAS_SPR]);
    line(&b, f[SAS_SV]);
    if (since(sas, "2018-11-09")) {
        line(&b, f[SAS_SR]);
        line(&b, signed_moment(sas));
    }
    if (since(sas, "2020-12-06")) line(&b, f[SAS_SES]);
    line(&b, f[SAS_RSCC]);
    line(&b, f[SAS_RSCD]);
    line(&b, f[SAS_RSCE]);
    line(&b, f[SAS_RSCL]);
    buf_put(&b, f[SAS_RSCT]);
    return buf_slice(&b);
}

/* ---- what stands in the fields ---- */

static err check_letters(const char *field, slice v, const char *known) {
    ENSURE(v.p && v.len, ERR_AUTHENTICATION_FAILED, "%s is mandatory. Cannot be empty", field);
    for (size_t i = 0; i < v.len; i++) {
        ENSURE(v.p[i] && strchr(known, v.p[i]), ERR_AUTHENTICATION_FAILED,
               "%s: '%.*s' holds a letter that is none of '%s'.", field,
               SLICE_ARG(slice_take(v, 32)), known);
        ENSURE(slice_find(slice_take(v, i), 0, v.p[i]) == i, ERR_AUTHENTICATION_FAILED,
               "%s: '%c' is given twice.", field, v.p[i]);
    }
    return OK;
}

#define SERVICE_LETTERS "racwdxyltfmeopi"

/* A service SAS keeps the documented order. Letters that came later stand where the SDKs put them,
 * which is not the same place in each. */
static err check_service_letters(slice sp) {
    TRY(check_letters("sp", sp, SERVICE_LETTERS));
    static const char order[] = "racwdl";
    size_t reached = 0;
    for (size_t i = 0; i < sp.len; i++) {
        const char *at = strchr(order, sp.p[i]);
        if (!at) continue;
        ENSURE((size_t)(at - order) >= reached, ERR_AUTHENTICATION_FAILED,
               "sp: '%.*s' is out of order; the order is racwdxyltmeopif.", SLICE_ARG(sp));
        reached = (size_t)(at - order);
    }
    return OK;
}

static err check_version(slice sv) {
    ENSURE(sv.len, ERR_AUTHENTICATION_FAILED, "sv is mandatory. Cannot be empty");
    bool shaped = sv.len == 10 && sv.p[4] == '-' && sv.p[7] == '-';
    for (size_t i = 0; shaped && i < sv.len; i++)
        if (i != 4 && i != 7) shaped = sv.p[i] >= '0' && sv.p[i] <= '9';
    ENSURE(shaped, ERR_AUTHENTICATION_FAILED, "sv: '%.*s' is not a version like 2026-06-06.",
           SLICE_ARG(slice_take(sv, 32)));
    ENSURE(slice_cmp(sv, AUTH_SAS_OLDEST) >= 0, ERR_AUTHENTICATION_FAILED,
           "sv: %.*s is older than %.*s, the oldest that this server accepts.", SLICE_ARG(sv),
           SLICE_ARG(AUTH_SAS_OLDEST));
    return OK;
}

/* sig, decoded. A '+' that was not percent-encoded may have arrived as a space. */
static err decode_sig(arena *a, slice sig, slice *ret) {
    ENSURE(sig.len <= 64, ERR_AUTHENTICATION_FAILED,
           "Signature fields not well formed: sig is longer than any signature.");
    uint8_t text[64];
    for (size_t i = 0; i < sig.len; i++) text[i] = sig.p[i] == ' ' ? '+' : sig.p[i];
    slice mac = SLICE_NONE;
    ENSURE(base64_get(a, slice_of(text, sig.len), &mac) == OK && mac.len == AUTH_MAC_LEN,
           ERR_AUTHENTICATION_FAILED,
           "Signature fields not well formed: sig is not the base64 form of an HMAC-SHA256. "
           "Percent-encode its '+', '/' and '='.");
    *ret = mac;
    return OK;
}

/* ---- addresses ---- */

/* IPv4 as an IPv4-mapped IPv6 address, so that one comparison serves both. */
static bool parse_ip(slice s, uint8_t ret[16]) {
    char text[INET6_ADDRSTRLEN];
    if (!s.len || s.len >= sizeof text || memchr(s.p, 0, s.len)) return false;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    memset(ret, 0, 10);
    ret[10] = ret[11] = 0xff;
    return inet_pton(AF_INET, text, ret + 12) == 1 || inet_pton(AF_INET6, text, ret) == 1;
}

static bool parse_ip_range(slice sip, uint8_t low[16], uint8_t high[16]) {
    size_t dash = slice_find(sip, 0, '-');
    if (!parse_ip(slice_take(sip, dash), low)) return false;
    if (dash < sip.len) return parse_ip(slice_skip(sip, dash + 1), high);
    memcpy(high, low, 16);
    return true;
}

bool auth_ip_in(slice sip, slice peer) {
    uint8_t low[16], high[16], at[16];
    return parse_ip_range(sip, low, high) && parse_ip(peer, at) && memcmp(low, at, 16) <= 0 &&
           memcmp(at, high, 16) <= 0;
}

static err check_address(const auth_request *r, slice sip) {
    if (!sip.len) return OK;
    uint8_t low[16], high[16];
    ENSURE(parse_ip_range(sip, low, high), ERR_AUTHENTICATION_FAILED,
           "sip: '%.*s' is neither an address nor a range like 168.1.5.60-168.1.5.70.",
           SLICE_ARG(slice_take(sip, 96)));
    ENSURE(auth_ip_in(sip, r->peer_ip), ERR_AUTHORIZATION_SOURCE_IP_MISMATCH,
           "The request comes from %.*s; sip allows %.*s.", SLICE_ARG(r->peer_ip), SLICE_ARG(sip));
    return OK;
}

static err check_protocol(const auth_request *r, slice spr) {
    if (!spr.len || slice_eq(spr, S("https,http"))) return OK;
    ENSURE(slice_eq(spr, S("https")), ERR_AUTHENTICATION_FAILED,
           "spr: '%.*s' is neither 'https' nor 'https,http'.", SLICE_ARG(slice_take(spr, 32)));
    ENSURE(r->tls, ERR_AUTHORIZATION_PROTOCOL_MISMATCH,
           "spr is https; the request came over plain http.");
    return OK;
}

/* ---- terms: permissions and times, from the token or from the container's policy ---- */

typedef struct terms {
    slice permissions;
    bool has_start, has_expiry;
    int64_t start_us, expiry_us;
} terms;

static err parse_time(const char *field, slice v, bool *ret_has, int64_t *ret_us) {
    if (!v.len) return OK;
    ENSURE(time_parse_iso(v, ret_us) == OK, ERR_AUTHENTICATION_FAILED,
           "%s: '%.*s' is not a time like 2026-11-23T20:40:24Z.", field,
           SLICE_ARG(slice_take(v, 64)));
    *ret_has = true;
    return OK;
}

static err terms_of_token(const auth_sas *sas, terms *ret) {
    terms t = {.permissions = sas->f[SAS_SP]};
    TRY(parse_time("st", sas->f[SAS_ST], &t.has_start, &t.start_us));
    TRY(parse_time("se", sas->f[SAS_SE], &t.has_expiry, &t.expiry_us));
    *ret = t;
    return OK;
}

/* A field stands in the token or in the policy, never in both. */
static err terms_merge(arena *a, const store_policy *p, terms *t) {
    ENSURE(!(p->has_permission && t->permissions.len), ERR_AUTHENTICATION_FAILED,
           "sp stands in the token and in access policy '%.*s'; leave it out of one.",
           SLICE_ARG(p->id));
    ENSURE(!(p->has_start && t->has_start), ERR_AUTHENTICATION_FAILED,
           "st stands in the token and in access policy '%.*s'; leave it out of one.",
           SLICE_ARG(p->id));
    ENSURE(!(p->has_expiry && t->has_expiry), ERR_AUTHENTICATION_FAILED,
           "se stands in the token and in access policy '%.*s'; leave it out of one.",
           SLICE_ARG(p->id));
    if (p->has_permission) t->permissions = arena_dup(a, p->permission);
    if (p->has_start) t->has_start = true, t->start_us = p->start_us;
    if (p->has_expiry) t->has_expiry = true, t->expiry_us = p->expiry_us;
    return OK;
}

static err terms_of_policy(store *s, store_call c, const auth_request *r,
                           const store_account *account, slice id, terms *t) {
    ENSURE(id.len <= 64, ERR_AUTHENTICATION_FAILED, "si is longer than 64 characters.");
    const store_container *k = NULL;
    err e = store_container_get(s, c, account, r->container, &k);
    if (e == ERR_CONTAINER_NOT_FOUND || e == ERR_NOT_FOUND)
        return err_fail(ERR_AUTHENTICATION_FAILED, "si: no container, so no access policy '%.*s'.",
                        SLICE_ARG(id));
    TRY(e);
    const store_policy *found = NULL;
    for (size_t i = 0; i < k->policy_count && !found; i++)
        if (slice_eq(k->policies[i].id, id)) found = &k->policies[i];
    e = found ? terms_merge(c.arena, found, t)
              : err_fail(ERR_AUTHENTICATION_FAILED,
                         "si: the container has no access policy '%.*s'.", SLICE_ARG(id));
    store_container_unref(k);
    return e;
}

static slice http_time(arena *a, int64_t us) {
    buf b;
    buf_init_arena(&b, a, 64);
    time_put_http(&b, us);
    return buf_slice(&b);
}

static err check_times(arena *a, const terms *t) {
    int64_t now = clock_wall_us();
    ENSURE(t->has_expiry, ERR_AUTHENTICATION_FAILED,
           "Access without signed expiry is not allowed.");
    int64_t start = t->has_start ? t->start_us : now;
    if (now >= start && now < t->expiry_us) return OK;
    slice from = http_time(a, start), to = http_time(a, t->expiry_us), at = http_time(a, now);
    ENSURE(t->expiry_us > start, ERR_AUTHENTICATION_FAILED,
           "Signed expiry time [%.*s] must be after signed start time [%.*s]", SLICE_ARG(to),
           SLICE_ARG(from));
    return err_fail(
        ERR_AUTHENTICATION_FAILED,
        "Signature not valid in the specified time frame: Start [%.*s] - Expiry [%.*s] - "
        "Current [%.*s]",
        SLICE_ARG(from), SLICE_ARG(to), SLICE_ARG(at));
}

/* ---- the resource a service SAS signs ---- */

/* The first `depth` segments of path, without a trailing '/'. False when it has fewer, or when they
 * are only the beginning of a name (a listing's prefix "dir" also matches "dir2"). */
static bool cut_directory(slice path, uint64_t depth, bool prefix, slice *ret) {
    size_t at = 0;
    for (uint64_t i = 0; i < depth; i++) {
        size_t end = slice_find(path, at, '/');
        if (end == at) return false;
        if (end == path.len) {
            if (i + 1 < depth || prefix) return false;
            *ret = path;
            return true;
        }
        at = end + 1;
    }
    *ret = slice_take(path, at ? at - 1 : 0);
    return true;
}

static err directory_of(const auth_request *r, const auth_sas *sas, slice *ret) {
    uint64_t depth = 0;
    ENSURE(slice_u64(sas->f[SAS_SDD], &depth) == OK && depth <= 254, ERR_AUTHENTICATION_FAILED,
           "sdd: a directory's depth, 0 to 254, is needed with sr=d.");
    bool listing = !r->blob.len;
    slice path = r->blob;
    if (listing) {
        ENSURE(slice_eq(auth_param(r, S("comp")), S("list")), ERR_AUTHENTICATION_FAILED,
               "Specified signed resource is not allowed for the this resource level");
        path = auth_param(r, S("prefix"));
    }
    ENSURE(cut_directory(path, depth, listing, ret), ERR_AUTHENTICATION_FAILED,
           "sr=d: %s is not below a directory of depth %llu%s.", listing ? "prefix" : "the blob",
           (unsigned long long)depth, listing ? "; end the prefix with '/'" : "");
    return OK;
}

/* "/blob/account/container[/path]", decoded. */
static err signed_resource(arena *a, const auth_request *r, const auth_sas *sas, slice *ret) {
    slice sr = sas->f[SAS_SR], path = SLICE_NONE;
    ENSURE(sr.len, ERR_AUTHENTICATION_FAILED, "sr is mandatory. Cannot be empty");
    bool container = slice_eq(sr, S("c")), directory = slice_eq(sr, S("d"));
    bool moment = slice_eq(sr, S("bs")) || slice_eq(sr, S("bv"));
    ENSURE(container || directory || moment || slice_eq(sr, S("b")), ERR_AUTHENTICATION_FAILED,
           "sr: '%.*s' is none of b, bs, bv, c and d.", SLICE_ARG(slice_take(sr, 16)));
    ENSURE(!moment || since(sas, "2018-11-09"), ERR_AUTHENTICATION_FAILED,
           "sr: %.*s needs sv 2018-11-09 or later.", SLICE_ARG(sr));
    ENSURE(!moment || signed_moment(sas).len, ERR_AUTHENTICATION_FAILED,
           "sr: %.*s needs the %s parameter.", SLICE_ARG(sr),
           slice_eq(sr, S("bs")) ? "snapshot" : "versionid");
    ENSURE(!directory || since(sas, "2020-02-10"), ERR_AUTHENTICATION_FAILED,
           "sr: d needs sv 2020-02-10 or later.");
    ENSURE(r->container.len && (container || directory || r->blob.len), ERR_AUTHENTICATION_FAILED,
           "Specified signed resource is not allowed for the this resource level");
    if (directory)
        TRY(directory_of(r, sas, &path));
    else if (!container)
        path = r->blob;
    size_t n = sizeof "/blob///" + r->account.len + r->container.len + path.len;
    buf b;
    buf_init_arena(&b, a, n);
    (void)buf_reserve(&b, n);
    buf_put(&b, S("/blob/"));
    buf_put(&b, r->account);
    buf_byte(&b, '/');
    buf_put(&b, r->container);
    if (!container) buf_byte(&b, '/');
    buf_put(&b, path);
    *ret = buf_slice(&b);
    return OK;
}

/* ---- the check ---- */

static err signed_by(const store_account *account, slice text, slice mac, auth_caller *who) {
    MUST(text.p);
    who->key_index = auth_key_of(account, text, mac);
    ENSURE(who->key_index >= 0, ERR_AUTHENTICATION_FAILED,
           "Signature did not match. String to sign used was %.*s", SLICE_ARG(text));
    return OK;
}

static err account_sas(arena *a, const auth_request *r, const store_account *account,
                       const auth_sas *sas, slice mac, auth_caller *who) {
    who->kind = AUTH_ACCOUNT_SAS;
    TRY(check_letters("ss", sas->f[SAS_SS], "bqtf"));
    TRY(check_letters("srt", sas->f[SAS_SRT], "sco"));
    TRY(check_letters("sp", sas->f[SAS_SP], "rwdxylacuptfimeo"));
    ENSURE(!sas->f[SAS_SI].len, ERR_AUTHENTICATION_FAILED,
           "si: an account SAS has no access policies; use a service SAS.");
    TRY(signed_by(account, auth_account_sas_text(a, r->account, sas), mac, who));
    who->services = sas->f[SAS_SS];
    who->types = sas->f[SAS_SRT];
    return OK;
}

static err service_sas(arena *a, const auth_request *r, const store_account *account,
                       const auth_sas *sas, slice mac, auth_caller *who) {
    who->kind = AUTH_SERVICE_SAS;
    slice resource = SLICE_NONE;
    TRY(signed_resource(a, r, sas, &resource));
    /* A token that lacks what it must have says so rather than that its signature is wrong. */
    if (!sas->f[SAS_SI].len) TRY(check_service_letters(sas->f[SAS_SP]));
    TRY(signed_by(account, auth_service_sas_text(a, resource, sas), mac, who));
    who->resource = sas->f[SAS_SR];
    who->policy_id = sas->f[SAS_SI];
    who->cache_control = sas->f[SAS_RSCC];
    who->content_disposition = sas->f[SAS_RSCD];
    who->content_encoding = sas->f[SAS_RSCE];
    who->content_language = sas->f[SAS_RSCL];
    who->content_type = sas->f[SAS_RSCT];
    return OK;
}

err auth_by_sas(store *s, store_call c, const auth_request *r, const store_account *account,
                const auth_sas *sas, auth_caller *ret) {
    ENSURE(!sas->f[SAS_SKOID].p, ERR_AUTHENTICATION_FAILED,
           "skoid: user delegation is not configured on this server; sign with an account key.");
    TRY(check_version(sas->f[SAS_SV]));
    slice mac = SLICE_NONE;
    TRY(decode_sig(c.arena, sas->f[SAS_SIG], &mac));
    auth_caller who = {.key_index = -1, .version = sas->f[SAS_SV]};
    bool of_account = sas->f[SAS_SS].p || sas->f[SAS_SRT].p;
    TRY(of_account ? account_sas(c.arena, r, account, sas, mac, &who)
                   : service_sas(c.arena, r, account, sas, mac, &who));
    terms t;
    TRY(terms_of_token(sas, &t));
    if (sas->f[SAS_SI].len) TRY(terms_of_policy(s, c, r, account, sas->f[SAS_SI], &t));
    /* Set Container ACL takes a policy's letters in any order. */
    if (!of_account)
        TRY(sas->f[SAS_SP].len ? check_service_letters(t.permissions)
                               : check_letters("sp", t.permissions, SERVICE_LETTERS));
    TRY(check_times(c.arena, &t));
    TRY(check_address(r, sas->f[SAS_SIP]));
    TRY(check_protocol(r, sas->f[SAS_SPR]));
    who.permissions = t.permissions;
    if (since(sas, "2020-12-06")) who.encryption_scope = sas->f[SAS_SES];
    *ret = who;
    return OK;
}
