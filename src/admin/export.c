/* Entries of the record as others write them: one line, or one element, each.
 *
 *   azure   resource logs of Azure Monitor (StorageBlobLogs: "Azure Blob Storage monitoring data reference"); what
 *           is no operation of the Blob service has the category of the activity log, Administrative
 *   fhir    AuditEvent of FHIR R4 (hl7.org/fhir/R4/auditevent.html) after IHE's Basic Audit Log Patterns: it names a
 *           profile where it has all that the profile demands, which is of what succeeded only
 *   premis  events of PREMIS 3.0 (loc.gov/standards/premis/v3)
 *   csv     RFC 4180, with a line of names
 *
 * Names stand in them when the entry was opened, else its pseudonyms and commitments. */
#include "admin/internal.h"

/* ---- what an entry says ---- */

static const char *at2(const json_t *entry, const char *object, const char *name) {
    const char *v = json_string_value(json_object_get(json_object_get(entry, object), name));
    return v ? v : "";
}

static const char *at(const json_t *entry, const char *name) {
    const char *v = json_string_value(json_object_get(entry, name));
    return v ? v : "";
}

static long long number_at(const json_t *entry, const char *object, const char *name) {
    return json_integer_value(json_object_get(json_object_get(entry, object), name));
}

static bool is(const json_t *entry, const char *name, const char *value) {
    return strcmp(at(entry, name), value) == 0;
}

/* The name where it is known, else what stands for it. */
static slice either(slice opened, const char *otherwise) {
    return opened.len > 0 ? opened : slice_str(otherwise);
}

static slice account_of_entry(const audit_exported *x) {
    return either(x->o->account, at2(x->entry, "object", "account"));
}
static slice container_of_entry(const audit_exported *x) {
    return either(x->o->container, at2(x->entry, "object", "container"));
}
static slice blob_of_entry(const audit_exported *x) {
    return either(x->o->blob, at2(x->entry, "object", "name"));
}
static slice actor_of_entry(const audit_exported *x) {
    return either(x->o->actor, at2(x->entry, "actor", "id"));
}
static slice address_of_entry(const audit_exported *x) {
    return either(x->o->address, at2(x->entry, "client", "network"));
}

/* "account/container/blob", as far as they are known. */
static void put_path(buf *b, const audit_exported *x) {
    const slice parts[] = {account_of_entry(x), container_of_entry(x), blob_of_entry(x)};
    for (size_t i = 0; i < ARRAY_LEN(parts) && parts[i].len > 0; i++) {
        if (i > 0) buf_byte(b, '/');
        buf_put(b, parts[i]);
    }
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Operations are Azure's, in its spelling; commands and deeds are not. */
static bool is_operation(const json_t *entry) {
    const char *action = at(entry, "action"), *kind = at2(entry, "actor", "kind");
    return action[0] >= 'A' && action[0] <= 'Z' && strcmp(kind, "server") != 0;
}

/* ---- JSON ---- */

static void set(json_t *to, const char *name, slice v) {
    if (v.len > 0) call_set(to, name, v);
}
static void set_c(json_t *to, const char *name, const char *v) {
    set(to, name, slice_str(v));
}
static void put_json(buf *out, json_t *v) {
    char *text = json_dumps(v, JSON_COMPACT);
    MUST(text != NULL);
    buf_str(out, text);
    free(text);
    json_decref(v);
}

/* ---- Azure ---- */

static const char *azure_category(const json_t *entry) {
    const char *action = at(entry, "action");
    if (!is_operation(entry)) return "Administrative";
    if (starts(action, "Delete")) return "StorageDelete";
    if (starts(action, "Get") || starts(action, "List") || starts(action, "Find") ||
        starts(action, "Preflight"))
        return "StorageRead";
    return "StorageWrite";
}

static const char *azure_authentication(const json_t *entry) {
    const char *kind = at2(entry, "actor", "kind");
    return strcmp(kind, "key") == 0         ? "Account Key"
           : strcmp(kind, "sas") == 0       ? "SAS Key"
           : strcmp(kind, "anonymous") == 0 ? "Anonymous"
                                            : kind;
}

/* "Status messages": what succeeded is told by how the caller was known. */
static const char *azure_status_text(const json_t *entry) {
    const char *kind = at2(entry, "actor", "kind"), *code = at2(entry, "outcome", "code");
    if (*code) return code;
    return strcmp(kind, "sas") == 0         ? "SASSuccess"
           : strcmp(kind, "anonymous") == 0 ? "AnonymousSuccess"
                                            : "Success";
}

static void put_operation_name(json_t *to, const json_t *entry) {
    char name[64];
    size_t n = 0;
    for (const char *p = at(entry, "action"); *p && n + 1 < sizeof name; p++)
        if (*p != ' ') name[n++] = *p;
    name[n] = '\0';
    set_c(to, "operationName", name);
}

static void put_uri(json_t *to, const audit_exported *x) {
    buf b, path;
    buf_init(&b, 64 << 10);
    buf_init(&path, 64 << 10);
    put_path(&path, x);
    buf_fmt(&b, "%s/", x->endpoint);
    percent_put(&b, buf_slice(&path), "/");
    MUST(buf_check(&b) == OK && buf_check(&path) == OK);
    set(to, "uri", buf_slice(&b));
    buf_done(&path);
    buf_done(&b);
}

static json_t *azure_properties(const audit_exported *x) {
    json_t *p = json_object();
    buf path;
    set(p, "accountName", account_of_entry(x));
    set_c(p, "serviceType", "blob");
    buf_init(&path, 64 << 10);
    buf_byte(&path, '/');
    put_path(&path, x);
    set(p, "objectKey", buf_slice(&path));
    buf_done(&path);
    set_c(p, "etag", at2(x->entry, "object", "etag"));
    set(p, "actor", actor_of_entry(x));
    set_c(p, "purpose", at2(x->entry, "purpose", "code"));
    set(p, "reason", x->o->reason);
    set_c(p, "decision", at(x->entry, "decision"));
    set_c(p, "class", at(x->entry, "class"));
    json_object_set_new(p, "recordIndex", json_integer((json_int_t)x->index));
    return p;
}

static void put_azure(buf *out, const audit_exported *x) {
    json_t *v = json_object(), *identity = json_object();
    set_c(v, "time", at(x->entry, "time"));
    set_c(v, "category", azure_category(x->entry));
    put_operation_name(v, x->entry);
    set_c(v, "schemaVersion", "1.0");
    const long long status = number_at(x->entry, "outcome", "status");
    if (status > 0) json_object_set_new(v, "statusCode", json_integer(status));
    set_c(v, "statusText", azure_status_text(x->entry));
    set(v, "callerIpAddress", address_of_entry(x));
    set_c(v, "correlationId", at2(x->entry, "client", "request"));
    set_c(identity, "type", azure_authentication(x->entry));
    json_object_set_new(v, "identity", identity);
    set_c(v, "location", at(x->entry, "region"));
    json_object_set_new(v, "properties", azure_properties(x));
    put_uri(v, x);
    set_c(v, "resourceType", "Microsoft.Storage/storageAccounts/blobServices");
    put_json(out, v);
}

/* ---- FHIR ---- */

#define DCM   "http://dicom.nema.org/resources/ontology/DCM"
#define BALP  "https://profiles.ihe.net/ITI/BALP/"
#define TERMS "http://terminology.hl7.org/CodeSystem/"

static json_t *coding(const char *system, const char *code, const char *display) {
    json_t *c = json_object();
    set_c(c, "system", system);
    set_c(c, "code", code);
    set_c(c, "display", display);
    return c;
}

static json_t *concept(const char *system, const char *code, const char *display) {
    return json_pack("{s:[o]}", "coding", coding(system, code, display));
}

static const struct fhir_kind {
    const char *audit_class, *action, *interaction, *profile; /* profile: NULL: none fits */
    const char *client, *server; /* roles, as IHE has them of that interaction */
} fhir_kinds[] = {
    {"collection", "C", "create", "IHE.BasicAudit.Create", "110153", "110152"},
    {"alteration", "U", "update", "IHE.BasicAudit.Update", "110153", "110152"},
    {"consultation", "R", "read", "IHE.BasicAudit.Read", "110153", "110152"},
    {"disclosure", "R", "read", "IHE.BasicAudit.Read", "110153", "110152"},
    {"erasure", "D", "delete", "IHE.BasicAudit.Delete", "110150", "custodian"},
    {"", "E", "operation", NULL, "110150", "110152"}, /* all others */
};

static const struct fhir_kind *fhir_kind_of(const json_t *entry) {
    const struct fhir_kind *k = fhir_kinds;
    while (*k->audit_class && !is(entry, "class", k->audit_class)) k++;
    return k;
}

static json_t *role(const char *code) {
    static const struct {
        const char *code, *system, *display;
    } roles[] = {{"110150", DCM, "Application"},
                 {"110152", DCM, "Destination Role ID"},
                 {"110153", DCM, "Source Role ID"},
                 {"custodian", TERMS "provenance-participant-type", "Custodian"}};
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(roles) && strcmp(roles[i].code, code) != 0) i++;
    return concept(roles[i].system, roles[i].code, roles[i].display);
}

static json_t *reference(slice value) {
    json_t *to = json_object(), *identifier = json_object();
    set(identifier, "value", value.len > 0 ? value : S("unknown"));
    json_object_set_new(to, "identifier", identifier);
    return to;
}

static json_t *fhir_purpose(const json_t *entry) {
    const char *code = at2(entry, "purpose", "code");
    return json_pack("[o]", concept(TERMS "v3-ActReason", code, NULL));
}

/* The client, the server and, when it is known, the user (BALP, "agent" slices). */
static json_t *fhir_agents(const audit_exported *x, const struct fhir_kind *k) {
    json_t *client = json_object(), *server = json_object(), *user = json_object();
    json_object_set_new(client, "type", role(k->client));
    json_object_set_new(client, "who", reference(actor_of_entry(x)));
    json_object_set_new(client, "requestor", json_boolean(actor_of_entry(x).len == 0));
    json_t *network = json_object();
    const slice address = address_of_entry(x);
    set(network, "address", address.len > 0 ? address : S("unknown"));
    set_c(network, "type", address.len > 0 ? "2" : "5"); /* IP address; URI */
    json_object_set_new(client, "network", network);
    json_object_set_new(server, "type", role(k->server));
    json_object_set_new(server, "who", reference(slice_str(at(x->entry, "region"))));
    json_object_set_new(server, "requestor", json_false());
    json_t *place = json_object();
    set_c(place, "address", x->endpoint);
    set_c(place, "type", "5");
    json_object_set_new(server, "network", place);
    json_t *agents = json_pack("[o,o]", client, server);
    json_object_set_new(user, "type",
                        concept(TERMS "v3-ParticipationType", "IRCP", "information recipient"));
    json_object_set_new(user, "who", reference(actor_of_entry(x)));
    json_object_set_new(user, "requestor", json_true());
    if (*at2(x->entry, "purpose", "code"))
        json_object_set_new(user, "purposeOfUse", fhir_purpose(x->entry));
    if (actor_of_entry(x).len > 0)
        json_array_append_new(agents, user);
    else
        json_decref(user);
    return agents;
}

static json_t *fhir_entities(const audit_exported *x) {
    json_t *list = json_array(), *data = json_object(), *request = json_object();
    buf path;
    buf_init(&path, 64 << 10);
    put_path(&path, x);
    json_object_set_new(data, "what", reference(buf_slice(&path)));
    buf_done(&path);
    json_object_set_new(data, "type", coding(TERMS "audit-entity-type", "2", "System Object"));
    json_object_set_new(data, "role", coding(TERMS "object-role", "4", "Domain Resource"));
    json_array_append_new(list, data);
    const slice id = slice_str(at2(x->entry, "client", "request"));
    json_object_set_new(request, "what", reference(id));
    json_object_set_new(
        request, "type",
        coding(BALP "CodeSystem/BasicAuditEntityType", "XrequestId", "The id of the request"));
    if (id.len > 0)
        json_array_append_new(list, request);
    else
        json_decref(request);
    return list;
}

static const char *fhir_outcome(const json_t *entry) {
    const char *result = at2(entry, "outcome", "result");
    return strcmp(result, "ok") == 0 ? "0" : strcmp(result, "refused") == 0 ? "4" : "8";
}

/* To the microsecond: seven digits of a second are more than libraries take. */
static slice to_micros(const char *time, char room[32]) {
    const size_t n = strlen(time);
    if (n != TIME_TICK_TEXT_LEN) return slice_str(time);
    memcpy(room, time, n - 2);
    room[n - 2] = 'Z';
    return slice_of(room, n - 1);
}

static void put_fhir(buf *out, const audit_exported *x) {
    char recorded[32];
    const struct fhir_kind *k = fhir_kind_of(x->entry);
    const char *outcome = fhir_outcome(x->entry), *code = at2(x->entry, "outcome", "code");
    json_t *v = json_object();
    set_c(v, "resourceType", "AuditEvent");
    set_c(v, "id", at(x->entry, "id"));
    if (k->profile && *outcome == '0')
        json_object_set_new(v, "meta",
                            json_pack("{s:[o]}", "profile",
                                      json_sprintf(BALP "StructureDefinition/%s", k->profile)));
    json_object_set_new(v, "type", coding(TERMS "audit-event-type", "rest", "Restful Operation"));
    json_object_set_new(
        v, "subtype",
        json_pack("[o,o]", coding("http://hl7.org/fhir/restful-interaction", k->interaction, NULL),
                  coding("urn:strongroom:action", at(x->entry, "action"), NULL)));
    set_c(v, "action", k->action);
    set(v, "recorded", to_micros(at(x->entry, "time"), recorded));
    set_c(v, "outcome", outcome);
    set_c(v, "outcomeDesc", code);
    if (*at2(x->entry, "purpose", "code"))
        json_object_set_new(v, "purposeOfEvent", fhir_purpose(x->entry));
    json_object_set_new(v, "agent", fhir_agents(x, k));
    json_object_set_new(v, "source",
                        json_pack("{s:o,s:[o]}", "observer",
                                  reference(slice_str(at(x->entry, "region"))), "type",
                                  coding(TERMS "security-source-type", "4", "Application Server")));
    json_object_set_new(v, "entity", fhir_entities(x));
    put_json(out, v);
}

/* ---- PREMIS ---- */

#define LOC "http://id.loc.gov/vocabulary/preservation/"

/* The Library of Congress' terms for what they have a term for (id.loc.gov/vocabulary/preservation/eventType). */
static const char *premis_type(const json_t *entry) {
    static const char *const terms[][2] = {
        {"collection", "ingestion"},    {"alteration", "modification"},
        {"consultation", "displaying"}, {"disclosure", "dissemination"},
        {"combination", "compiling"},   {"erasure", "deletion"},
        {"policy", "policy assignment"}};
    for (size_t i = 0; i < ARRAY_LEN(terms); i++)
        if (is(entry, "class", terms[i][0])) return terms[i][1];
    return NULL;
}

static void element(buf *b, const char *name, slice v) {
    buf_fmt(b, "<%s>", name);
    xml_put(b, v);
    buf_fmt(b, "</%s>", name);
}

/* kind: "Agent" or "Object". */
static void put_link(buf *b, const char *kind, const char *type, slice value) {
    char name[64];
    if (value.len == 0) return;
    buf_fmt(b, "<linking%sIdentifier>", kind);
    snprintf(name, sizeof name, "linking%sIdentifierType", kind);
    element(b, name, slice_str(type));
    snprintf(name, sizeof name, "linking%sIdentifierValue", kind);
    element(b, name, value);
    buf_fmt(b, "</linking%sIdentifier>", kind);
}

static void put_premis(buf *b, const audit_exported *x) {
    const char *term = premis_type(x->entry);
    buf path;
    buf_str(b, "<event><eventIdentifier>");
    element(b, "eventIdentifierType", S("UUID"));
    element(b, "eventIdentifierValue", slice_str(at(x->entry, "id")));
    buf_str(b, "</eventIdentifier>");
    if (term)
        buf_fmt(b,
                "<eventType authority=\"eventType\" authorityURI=\"" LOC
                "eventType\">%s</eventType>",
                term);
    else
        element(b, "eventType", slice_str(at(x->entry, "class")));
    element(b, "eventDateTime", slice_str(at(x->entry, "time")));
    buf_str(b, "<eventDetailInformation>");
    element(b, "eventDetail", slice_str(at(x->entry, "action")));
    buf_str(b, "</eventDetailInformation><eventOutcomeInformation>");
    element(b, "eventOutcome", slice_str(at2(x->entry, "outcome", "result")));
    if (*at2(x->entry, "outcome", "code")) {
        buf_str(b, "<eventOutcomeDetail>");
        element(b, "eventOutcomeDetailNote", slice_str(at2(x->entry, "outcome", "code")));
        buf_str(b, "</eventOutcomeDetail>");
    }
    buf_str(b, "</eventOutcomeInformation>");
    put_link(b, "Agent", at2(x->entry, "actor", "kind"),
             either(actor_of_entry(x), at2(x->entry, "actor", "kind")));
    buf_init(&path, 64 << 10);
    put_path(&path, x);
    put_link(b, "Object", "account/container/blob", buf_slice(&path));
    buf_done(&path);
    buf_str(b, "</event>");
}

/* ---- CSV ---- */

/* Quoted; and what a spreadsheet would take for a formula begins with an apostrophe. */
static void cell(buf *b, slice v) {
    static const char formula[] = "=+-@\t\r";
    buf_byte(b, '"');
    if (v.len > 0 && memchr(formula, v.p[0], sizeof formula - 1)) buf_byte(b, '\'');
    for (size_t i = 0; i < v.len; i++) {
        if (v.p[i] == '"') buf_byte(b, '"');
        buf_byte(b, v.p[i]);
    }
    buf_byte(b, '"');
}

static void put_csv(buf *b, const audit_exported *x) {
    const json_t *e = x->entry;
    const slice cells[] = {slice_str(at(e, "time")),
                           slice_str(at(e, "class")),
                           slice_str(at(e, "action")),
                           slice_str(at2(e, "outcome", "result")),
                           slice_str(at2(e, "outcome", "code")),
                           slice_str(at2(e, "actor", "kind")),
                           actor_of_entry(x),
                           address_of_entry(x),
                           slice_str(at(e, "decision")),
                           slice_str(at2(e, "purpose", "code")),
                           either(x->o->reason, at2(e, "purpose", "reason")),
                           account_of_entry(x),
                           container_of_entry(x),
                           blob_of_entry(x),
                           slice_str(at2(e, "object", "version")),
                           slice_str(at2(e, "object", "snapshot")),
                           slice_str(at2(e, "client", "request")),
                           slice_str(at(e, "region"))};
    buf_fmt(b, "%llu,%lld,%lld", (unsigned long long)x->index, number_at(e, "outcome", "status"),
            number_at(e, "object", "bytes"));
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        buf_byte(b, ',');
        cell(b, cells[i]);
    }
    buf_byte(b, '\r'); /* the line's end follows */
}

#define CSV_HEAD                                                                                   \
    "index,status,bytes,time,class,action,result,code,actor_kind,actor,address,decision,purpose,"  \
    "reason,account,container,blob,version,snapshot,request,region\r\n"
#define PREMIS_HEAD                                                                                \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                                 \
    "<premis xmlns=\"http://www.loc.gov/premis/v3\" version=\"3.0\">\n"

static const audit_format formats[] = {{"azure", "", "", put_azure},
                                       {"fhir", "", "", put_fhir},
                                       {"premis", PREMIS_HEAD, "</premis>\n", put_premis},
                                       {"csv", CSV_HEAD, "", put_csv}};

err audit_format_find(slice name, const audit_format **ret) {
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (!slice_eq(name, slice_str(formats[i].name))) continue;
        *ret = &formats[i];
        return OK;
    }
    return err_fail(ERR_INVALID_INPUT, "there is no format '%.*s': azure, fhir, premis or csv",
                    SLICE_ARG(slice_take(name, 32)));
}
