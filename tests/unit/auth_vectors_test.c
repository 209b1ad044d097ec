/* Requests and tokens signed by Azure's own SDKs are accepted; with anything signed changed they
 * are not. */
#include "vectors/auth_fixture.h"
#include "vectors/auth_vectors.h"

static void policy_readers(void) {
    the_container.policies[0] = (store_policy){.id = S("readers"),
                                               .has_permission = true,
                                               .has_expiry = true,
                                               .permission = S("rl"),
                                               .expiry_us = NOW_US + 1000000};
    the_container.policy_count = 1;
}

static void accepts_every_vector(void **state) {
    fixture *f = *state;
    policy_readers();
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        const auth_vector *v = &auth_vectors[i];
        fixture_vector(f, v);
        err e = identify(f);
        if (e) fail_msg("%s: %s %s", v->name, err_get(e)->name, err_detail());
        assert_int_equal(f->caller.kind, v->kind);
        assert_int_equal(f->caller.key_index, 0);
        if (v->kind != AUTH_SHARED_KEY) assert_true(f->caller.permissions.len > 0);
    }
}

static void knows_the_second_key(void **state) {
    fixture *f = *state;
    policy_readers();
    slice dev = f->account.keys[0];
    f->account.keys[0] = f->account.keys[1];
    f->account.keys[1] = dev;
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        fixture_vector(f, &auth_vectors[i]);
        assert_err(identify(f), OK);
        assert_int_equal(f->caller.key_index, 1);
    }
    f->account.key_set[1] = false;
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        fixture_vector(f, &auth_vectors[i]);
        assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    }
}

static bool fails(fixture *f, const char *vector, const char *what, slice which) {
    auth_caller before = f->caller;
    err e = identify(f);
    if (e == OK) print_error("%s: accepted with %s '%.*s'\n", vector, what, SLICE_ARG(which));
    if (e && memcmp(&before, &f->caller, sizeof before) != 0) {
        print_error("%s: the caller was touched\n", vector);
        return false;
    }
    return e == ERR_AUTHENTICATION_FAILED || e == ERR_INVALID_AUTHENTICATION_INFO ||
           e == ERR_AUTHORIZATION_SOURCE_IP_MISMATCH;
}

static bool is_signed_field(slice name, bool shared_key) {
    static const char *const fields[] = {"sv",  "ss",   "srt",  "sr",   "sp",   "st",
                                         "se",  "si",   "sip",  "spr",  "ses",  "sdd",
                                         "sig", "rscc", "rscd", "rsce", "rscl", "rsct"};
    if (shared_key) return true;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (slice_eq(name, slice_str(fields[i]))) return true;
    return false;
}

/* Every signed parameter: changed, and left out. */
static void refuses_changed_parameters(void **state) {
    fixture *f = *state;
    policy_readers();
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        const auth_vector *v = &auth_vectors[i];
        bool lite = strstr(v->headers, "SharedKeyLite");
        fixture_vector(f, v);
        for (size_t k = 0; k < f->r.param_count; k++) {
            fixture_vector(f, v);
            slice name = f->params[k].name;
            if (!is_signed_field(name, v->kind == AUTH_SHARED_KEY)) continue;
            if (lite && !slice_eq(name, S("comp"))) continue;
            slice value = f->params[k].value;
            f->params[k].value = arena_fmt(f->arena, "%.*sr", SLICE_ARG(value));
            assert_true(fails(f, v->name, "changed", name));
            if (slice_eq(name, S("sig"))) continue; /* without it: not a SAS */
            fixture_vector(f, v);
            memmove(&f->params[k], &f->params[k + 1], (--f->r.param_count - k) * sizeof(pair));
            assert_true(fails(f, v->name, "left out", name));
        }
    }
}

static void refuses_changed_headers(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        const auth_vector *v = &auth_vectors[i];
        if (v->kind != AUTH_SHARED_KEY) continue;
        bool lite = strstr(v->headers, "SharedKeyLite");
        fixture_vector(f, v);
        for (size_t k = 0; k < f->r.header_count; k++) {
            fixture_vector(f, v);
            slice name = f->headers[k].name;
            if (slice_eq_nocase(name, S("date")) && auth_header(&f->r, S("x-ms-date")).p) continue;
            if (lite && slice_starts_nocase(name, S("content-length"))) continue;
            f->headers[k].value = arena_fmt(f->arena, "%.*sx", SLICE_ARG(f->headers[k].value));
            assert_true(fails(f, v->name, "changed", name));
        }
        fixture_vector(f, v);
        f->headers[f->r.header_count++] = (pair){S("X-Ms-Meta-More"), S("1")};
        assert_true(fails(f, v->name, "added", S("x-ms-meta-more")));
        fixture_vector(f, v);
        f->r.method = S("PATCH");
        assert_true(fails(f, v->name, "another method", f->r.method));
        fixture_vector(f, v);
        f->r.path_raw = arena_fmt(f->arena, "%.*s/", SLICE_ARG(f->r.path_raw));
        assert_true(fails(f, v->name, "another path", f->r.path_raw));
    }
}

static void refuses_another_resource(void **state) {
    fixture *f = *state;
    policy_readers();
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        const auth_vector *v = &auth_vectors[i];
        fixture_vector(f, v);
        f->r.account = S("devstoreaccount2");
        assert_true(fails(f, v->name, "another account", f->r.account));
        if (v->kind != AUTH_SERVICE_SAS) continue;
        fixture_vector(f, v);
        f->r.container = S("recordz");
        assert_true(fails(f, v->name, "another container", f->r.container));
        fixture_vector(f, v);
        f->r.container = S("");
        f->r.blob = S("");
        assert_true(fails(f, v->name, "the service", f->r.container));
        fixture_vector(f, v);
        if (slice_eq(param(f, "sr")->value, S("c")) || !f->r.blob.len) continue;
        f->r.blob = slice_eq(param(f, "sr")->value, S("d")) ? S("dirx/b") : S("dir/other");
        assert_true(fails(f, v->name, "another blob", f->r.blob));
    }
}

static void gives_response_headers(void **state) {
    fixture *f = *state;
    bool seen = false;
    for (size_t i = 0; i < ARRAY_LEN(auth_vectors); i++) {
        if (strcmp(auth_vectors[i].name, "js blob headers 2018-11-09") != 0) continue;
        seen = true;
        fixture_vector(f, &auth_vectors[i]);
        assert_err(identify(f), OK);
        assert_true(slice_eq(f->caller.cache_control, S("no-store")));
        assert_true(slice_eq(f->caller.content_disposition, S("attachment; filename=\"x y.bin\"")));
        assert_true(slice_eq(f->caller.content_encoding, S("gzip")));
        assert_true(slice_eq(f->caller.content_language, S("de")));
        assert_true(slice_eq(f->caller.content_type, S("text/plain; charset=utf-8")));
        assert_true(slice_eq(f->caller.version, S("2018-11-09")));
        assert_true(slice_eq(f->caller.resource, S("b")));
    }
    assert_true(seen);
}

/* The order that puts hyphens aside: each name sorts before the next. */
static void sorts_headers_as_azure(void **state) {
    (void)state;
    static const char *const names[] = {"x-ms-meta-_a",  "x-ms-meta-a",   "x-ms-meta-a_",
                                        "x-ms-meta-a_1", "x-ms-meta-a0",  "x-ms-meta-ab",
                                        "x-ms-meta-a'b", "x-ms-meta-a-b", "x-ms-meta-ab_c",
                                        "x-ms-meta-abc", "x-ms-metab"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            int d = auth_header_order(slice_str(names[i]), slice_str(names[j]));
            assert_int_equal(d < 0 ? -1 : d > 0, i < j ? -1 : i > j);
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(accepts_every_vector),       TEST(knows_the_second_key),
        TEST(refuses_changed_parameters), TEST(refuses_changed_headers),
        TEST(refuses_another_resource),   TEST(gives_response_headers),
        TEST(sorts_headers_as_azure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
