/* Who may do what: letters, levels, anonymous access, the secondary. */
#include "vectors/auth_fixture.h"

static const auth_need read_blob = {'o', "r", "r", AUTH_PUBLIC_BLOB, false};
static const auth_need list_blobs = {'c', "l", "l", AUTH_PUBLIC_CONTAINER, false};
static const auth_need put_blob = {'o', "wc", "wc", AUTH_PUBLIC_NEVER, true};
static const auth_need delete_blob = {'o', "d", "d", AUTH_PUBLIC_NEVER, true};
static const auth_need create_container = {'c', "wc", NULL, AUTH_PUBLIC_NEVER, true};
static const auth_need set_acl = {'c', NULL, NULL, AUTH_PUBLIC_NEVER, true};
static const auth_need list_containers = {'s', "l", NULL, AUTH_PUBLIC_NEVER, false};
static const auth_need preflight = {'s', NULL, NULL, AUTH_PUBLIC_ALWAYS, false};

static void address(fixture *f, const char *container, const char *blob) {
    fixture_request(f, "GET", "/", "", container, blob);
}

static void service_letters(void **state) {
    fixture *f = *state;
    address(f, "records", "dir/b");
    static const char letters[] = "racwdxyltfmeopi";
    const auth_need *needs[] = {&read_blob, &put_blob, &delete_blob, &list_blobs};
    for (size_t n = 0; n < ARRAY_LEN(needs); n++)
        for (const char *l = letters; *l; l++) {
            f->caller = (auth_caller){
                .kind = AUTH_SERVICE_SAS, .resource = S("c"), .permissions = slice_of(l, 1)};
            bool may = strchr(needs[n]->service_any, *l);
            assert_err(permit(f, needs[n]), may ? OK : ERR_AUTHORIZATION_PERMISSION_MISMATCH);
        }
    assert_detail("this operation needs 'l'");
}

static void service_levels(void **state) {
    fixture *f = *state;
    f->caller =
        (auth_caller){.kind = AUTH_SERVICE_SAS, .resource = S("c"), .permissions = S("racwdl")};
    address(f, "records", "");
    assert_err(permit(f, &list_blobs), OK);
    assert_err(permit(f, &create_container), ERR_AUTHORIZATION_FAILURE);
    assert_err(permit(f, &set_acl), ERR_AUTHORIZATION_FAILURE);
    address(f, "", "");
    assert_err(permit(f, &list_containers), ERR_AUTHORIZATION_FAILURE);
    assert_err(permit(f, &list_blobs), ERR_AUTHORIZATION_FAILURE);
    static const char *const narrow[] = {"b", "bs", "bv"};
    for (size_t i = 0; i < ARRAY_LEN(narrow); i++) {
        f->caller.resource = slice_str(narrow[i]);
        address(f, "records", "");
        assert_err(permit(f, &list_blobs), ERR_AUTHORIZATION_FAILURE);
        address(f, "records", "b");
        assert_err(permit(f, &read_blob), OK);
    }
}

static void account_letters(void **state) {
    fixture *f = *state;
    address(f, "records", "b");
    auth_caller full = {.kind = AUTH_ACCOUNT_SAS,
                        .services = S("bq"),
                        .types = S("sco"),
                        .permissions = S("rwdlacup")};
    f->caller = full;
    assert_err(permit(f, &read_blob), OK);
    assert_err(permit(f, &create_container), OK);
    assert_err(permit(f, &list_containers), OK);
    assert_err(permit(f, &set_acl), ERR_AUTHORIZATION_FAILURE);
    f->caller.services = S("qtf");
    assert_err(permit(f, &read_blob), ERR_AUTHORIZATION_SERVICE_MISMATCH);
    f->caller = full;
    f->caller.types = S("sc");
    assert_err(permit(f, &read_blob), ERR_AUTHORIZATION_RESOURCE_TYPE_MISMATCH);
    assert_detail("srt is 'sc'; this operation needs 'o'");
    f->caller.types = S("co");
    assert_err(permit(f, &list_containers), ERR_AUTHORIZATION_RESOURCE_TYPE_MISMATCH);
    f->caller.types = S("so");
    assert_err(permit(f, &create_container), ERR_AUTHORIZATION_RESOURCE_TYPE_MISMATCH);
    f->caller = full;
    f->caller.permissions = S("rdlaup");
    assert_err(permit(f, &put_blob), ERR_AUTHORIZATION_PERMISSION_MISMATCH);
    assert_detail("allows 'rdlaup'; this operation needs one of 'wc'");
    f->caller.permissions = S("c");
    assert_err(permit(f, &put_blob), OK);
}

static void anonymous(void **state) {
    fixture *f = *state;
    static const struct {
        store_public access;
        const auth_need *need;
        err want;
    } cases[] = {
        {STORE_PRIVATE, &read_blob, ERR_RESOURCE_NOT_FOUND},
        {STORE_PUBLIC_BLOB, &read_blob, OK},
        {STORE_PUBLIC_CONTAINER, &read_blob, OK},
        {STORE_PRIVATE, &list_blobs, ERR_RESOURCE_NOT_FOUND},
        {STORE_PUBLIC_BLOB, &list_blobs, ERR_RESOURCE_NOT_FOUND},
        {STORE_PUBLIC_CONTAINER, &list_blobs, OK},
        {STORE_PUBLIC_CONTAINER, &put_blob, ERR_NO_AUTHENTICATION_INFORMATION},
        {STORE_PUBLIC_CONTAINER, &delete_blob, ERR_NO_AUTHENTICATION_INFORMATION},
        {STORE_PUBLIC_CONTAINER, &set_acl, ERR_NO_AUTHENTICATION_INFORMATION},
        {STORE_PRIVATE, &preflight, OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        address(f, "records", "b");
        assert_err(identify(f), OK);
        assert_int_equal(f->caller.kind, AUTH_ANONYMOUS);
        assert_int_equal(f->caller.key_index, -1);
        the_container.public_access = cases[i].access;
        assert_err(permit(f, cases[i].need), cases[i].want);
    }
    address(f, "", "");
    assert_err(permit(f, &list_containers), ERR_NO_AUTHENTICATION_INFORMATION);
    address(f, "records", "b");
    the_container_error = ERR_CONTAINER_NOT_FOUND;
    assert_err(permit(f, &read_blob), ERR_RESOURCE_NOT_FOUND);
    the_container_error = ERR_WOULD_BLOCK;
    assert_err(permit(f, &read_blob), ERR_WOULD_BLOCK);
    assert_err(permit(f, &put_blob), ERR_NO_AUTHENTICATION_INFORMATION);
}

/* Missing and private answer alike, to the last letter. */
static void anonymous_learns_nothing(void **state) {
    fixture *f = *state;
    address(f, "records", "b");
    f->caller = (auth_caller){.kind = AUTH_ANONYMOUS};
    assert_err(permit(f, &read_blob), ERR_RESOURCE_NOT_FOUND);
    char *private = arena_cstr(f->arena, slice_str(err_detail()));
    the_container_error = ERR_CONTAINER_NOT_FOUND;
    assert_err(permit(f, &read_blob), ERR_RESOURCE_NOT_FOUND);
    assert_string_equal(err_detail(), private);
}

static void secondary(void **state) {
    fixture *f = *state;
    static const auth_kind kinds[] = {AUTH_SHARED_KEY, AUTH_ACCOUNT_SAS, AUTH_SERVICE_SAS};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        address(f, "records", "b");
        f->caller = (auth_caller){.kind = kinds[i],
                                  .services = S("b"),
                                  .types = S("sco"),
                                  .resource = S("c"),
                                  .permissions = S("rw")};
        assert_err(permit(f, &put_blob), OK);
        f->r.secondary = true;
        assert_err(permit(f, &read_blob), OK);
        assert_err(permit(f, &put_blob), ERR_INSUFFICIENT_ACCOUNT_PERMISSIONS);
    }
}

static void scopes(void **state) {
    fixture *f = *state;
    address(f, "records", "b");
    f->caller = (auth_caller){.kind = AUTH_SERVICE_SAS,
                              .resource = S("c"),
                              .permissions = S("rw"),
                              .encryption_scope = S("s1")};
    assert_err(permit(f, &read_blob), OK);
    assert_err(permit(f, &put_blob), OK); /* whoever handles it sees to the scope */
}

static void overwrite(void **state) {
    (void)state;
    auth_caller c = {.kind = AUTH_SHARED_KEY};
    assert_true(auth_may_overwrite(&c));
    c = (auth_caller){.kind = AUTH_SERVICE_SAS, .permissions = S("rc")};
    assert_false(auth_may_overwrite(&c));
    c.permissions = S("rcw");
    assert_true(auth_may_overwrite(&c));
    c = (auth_caller){.kind = AUTH_ACCOUNT_SAS, .permissions = S("c")};
    assert_false(auth_may_overwrite(&c));
    c = (auth_caller){.kind = AUTH_ANONYMOUS};
    assert_false(auth_may_overwrite(&c));
}

static void shared_key_may_all(void **state) {
    fixture *f = *state;
    const auth_need *needs[] = {&read_blob,        &list_blobs, &put_blob,
                                &create_container, &set_acl,    &list_containers};
    address(f, "records", "b");
    f->caller = (auth_caller){.kind = AUTH_SHARED_KEY};
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) assert_err(permit(f, needs[i]), OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(service_letters),
        TEST(service_levels),
        TEST(account_letters),
        TEST(anonymous),
        TEST(anonymous_learns_nothing),
        TEST(secondary),
        TEST(scopes),
        TEST(overwrite),
        TEST(shared_key_may_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
