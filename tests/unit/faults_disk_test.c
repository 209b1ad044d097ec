/* The faulty disk of tests/faults/: it loses what it should lose, and nothing else. A model that is wrong here
 * would let the simulator find nothing, or what is not there. */
#include "base_test.h"

#include "../faults/disk.c"
#include "../faults/region.c"

static disk_file *f;

static int setup(void **state) {
    (void)state;
    region_open(256 << 20, false);
    disk_open();
    f = disk_make("file", false);
    disk_sync(disk_find(""));
    return 0;
}

static void put(uint64_t at, uint8_t fill, size_t n) {
    uint8_t bytes[20000];
    memset(bytes, fill, n);
    disk_write(f, at, bytes, n);
}

static uint8_t at(uint64_t where) {
    uint8_t b;
    image_get(&f->cached, where, &b, 1);
    return b;
}

static void what_was_synced_stays(void **state) {
    (void)state;
    for (int kind = 0; kind < CUT_KINDS; kind++) {
        put(0, 1, 10000);
        disk_sync(f);
        put(300, 2, 5000);
        disk_sync(f);
        for (uint64_t seed = 0; seed < 20; seed++) {
            put(20000, 3, 700);
            disk_power_cut(seed, (disk_cut)kind);
            f = disk_find("file");
            assert_non_null(f);
            assert_true(at(0) == 1 && at(299) == 1 && at(300) == 2 && at(5299) == 2 &&
                        at(5300) == 1 && at(9999) == 1);
            assert_true(disk_size(f) == 10000 || disk_size(f) == 20700);
            disk_truncate(f, 10000);
            disk_sync(f);
        }
    }
}

static void what_was_not_goes(void **state) {
    (void)state;
    put(0, 1, 4096);
    disk_sync(f);
    put(0, 2, 4096);
    disk_truncate(f, 100);
    disk_power_cut(1, CUT_NONE);
    assert_true(disk_size(f) == 4096 && at(0) == 1 && at(4095) == 1);
    put(0, 2, 4096);
    disk_truncate(f, 100);
    disk_power_cut(1, CUT_ALL);
    assert_true(disk_size(f) == 100 && at(0) == 2 && at(100) == 0);
}

/* Each sector is of one moment, and all moments are met: none, the first, the second. */
static void sectors_are_of_some_moment(void **state) {
    (void)state;
    bool seen[4] = {false};
    bool mixed = false;
    for (uint64_t seed = 0; seed < 40; seed++) {
        put(0, 1, 8192);
        disk_sync(f);
        put(0, 2, 8192);
        put(256, 3, 7000);
        disk_power_cut(seed, CUT_SECTORS);
        for (uint64_t s = 0; s < 8192; s += FAULT_SECTOR) {
            for (uint64_t i = s + 1; i < s + FAULT_SECTOR && s != 0 && s + FAULT_SECTOR < 7256; i++)
                assert_int_equal(at(i), at(s));
            assert_in_range(at(s + FAULT_SECTOR - 1), 1, 3);
            seen[at(s + FAULT_SECTOR - 1)] = true;
            mixed |= at(s) != at(0) && s < 7000;
        }
    }
    assert_true(seen[1] && seen[2] && seen[3] && mixed);
}

static void names_are_lost_with_their_folder(void **state) {
    (void)state;
    disk_make("new", false);
    disk_rename("file", "other");
    disk_power_cut(1, CUT_NONE);
    assert_null(disk_find("new"));
    assert_null(disk_find("other"));
    assert_ptr_equal(disk_find("file"), f);
    disk_rename("file", "other");
    disk_sync(disk_find(""));
    disk_unlink("other");
    disk_power_cut(1, CUT_NONE);
    assert_ptr_equal(disk_find("other"), f);
    assert_null(disk_find("file"));
    disk_make("folder", true);
    disk_make("folder/file", false);
    disk_sync(disk_find("folder"));
    disk_power_cut(1, CUT_NONE); /* the folder itself was not synced where it stands */
    assert_null(disk_find("folder"));
    assert_null(disk_find("folder/file"));
}

/* A beginning of a folder's operations stands: not the second without the first. */
static void names_survive_in_order(void **state) {
    (void)state;
    bool none = false, one = false, both = false;
    for (uint64_t seed = 0; seed < 60; seed++) {
        disk_make("first", false);
        disk_make("second", false);
        disk_power_cut(seed, CUT_SOME);
        const bool a = disk_find("first") != NULL, b = disk_find("second") != NULL;
        assert_true(a || !b);
        none |= !a;
        one |= a && !b;
        both |= b;
        disk_unlink("first");
        disk_unlink("second");
        disk_sync(disk_find(""));
    }
    assert_true(none && one && both);
}

/* After a failed sync the bytes are read, are clean, and are never on the disk: a later sync does not
 * bring them there. */
static void a_failed_sync_loses_for_good(void **state) {
    (void)state;
    bool lost = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        put(0, 1, 512);
        disk_sync(f);
        put(0, 2, 512);
        disk_sync_failed(f, seed);
        assert_int_equal(at(0), 2);
        disk_sync(f);
        assert_int_equal(at(0), 2);
        disk_power_cut(seed, CUT_ALL);
        lost |= at(0) == 1;
    }
    assert_true(lost);
}

static void in_order_files_end_early_at_most(void **state) {
    (void)state;
    disk_in_order("MANI");
    f = disk_make("MANIFEST", false);
    disk_sync(disk_find(""));
    disk_sync(f);
    for (uint64_t seed = 0; seed < 60; seed++) {
        for (uint64_t i = 0; i < 8; i++) put(i * 700, (uint8_t)(i + 1), 700);
        disk_power_cut(seed, (disk_cut)(seed % CUT_KINDS));
        for (uint64_t i = 0; i < disk_size(f); i++) assert_int_equal(at(i), i / 700 + 1);
        disk_truncate(f, 0);
        disk_sync(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup(fn, setup)
        T(what_was_synced_stays),
        T(what_was_not_goes),
        T(sectors_are_of_some_moment),
        T(names_are_lost_with_their_folder),
        T(names_survive_in_order),
        T(a_failed_sync_loses_for_good),
        T(in_order_files_end_early_at_most),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
