/* The published record: notes, the tree, tiles, the folder under failing writes, receipts, tampering. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "audit_test.h"

static int setup(void **state) {
    (void)state;
    name_folder("audit");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    remove_folder();
    return 0;
}

static audit_verifier verifier(uint8_t seed) {
    audit_verifier v;
    const audit_signer s = signer(seed);
    audit_verifier_of(&s, &v);
    v.name = S("example.com/records");
    return v;
}

/* ---- notes ---- */

/* The example of https://c2sp.org/signed-note. */
static void the_specifications_note_verifies(void **state) {
    (void)state;
    static const char key[] =
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    static const char text[] = "This is an example message.\n\n\xe2\x80\x94 example.com/foo "
                               "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH"
                               "3mFXmRKuwHjG1Yu72IneyaQM=\n";
    audit_verifier v;
    audit_note n;
    arena *a = arena_new(4096, 0);
    assert_int_equal(audit_verifier_parse(slice_str(key), &v), OK);
    assert_int_equal(v.id, 0x530d903a);
    assert_int_equal(audit_note_parse(a, slice_str(text), &n), OK);
    assert_true(slice_eq(n.text, S("This is an example message.\n")));
    assert_int_equal(audit_note_verify(&n, &v, NULL), OK);
    buf again;
    buf_init(&again, 512);
    audit_verifier_put(&again, &v);
    assert_true(slice_eq(buf_slice(&again), slice_str(key)));
    buf_done(&again);
    /* Any letter of it changed: no note, no signature of that key, or one that does not verify. */
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char bad[sizeof text];
        memcpy(bad, text, sizeof text);
        bad[i] ^= 1;
        err e = audit_note_parse(a, slice_str(bad), &n);
        if (e == OK) e = audit_note_verify(&n, &v, NULL);
        assert_true(e != OK);
    }
    for (size_t i = 0; i < sizeof key - 1; i++) {
        char bad[sizeof key];
        memcpy(bad, key, sizeof key);
        bad[i] = bad[i] == 'X' ? 'Y' : 'X';
        assert_int_equal(audit_verifier_parse(slice_str(bad), &v), ERR_INVALID_INPUT);
    }
    arena_free(a);
}

static void names_are_held_to_the_specification(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "a b",
                                      "a+b",
                                      "a\tb",
                                      "a\xc2\xa0"
                                      "b",
                                      "a\xe2\x80\x83"
                                      "b",
                                      "a\xff"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(audit_name_valid(slice_str(bad[i])));
    assert_true(audit_name_valid(S("example.com/log42")) && audit_name_valid(S("\xc3\xa9")));
}

/* ---- the tree ---- */

/* The test tree of RFC 6962's implementations (certificate-transparency's merkletree tests). */
static void the_known_roots_come_out(void **state) {
    (void)state;
    static const slice inputs[] = {
        {(const uint8_t *)"", 0},
        {(const uint8_t *)"\x00", 1},
        {(const uint8_t *)"\x10", 1},
        {(const uint8_t *)"\x20\x21", 2},
        {(const uint8_t *)"\x30\x31", 2},
        {(const uint8_t *)"\x40\x41\x42\x43", 4},
        {(const uint8_t *)"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
        {(const uint8_t *)"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16}};
    static const char *const roots[] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    audit_tree t = {0};
    for (size_t i = 0; i <= ARRAY_LEN(inputs); i++) {
        audit_hash root, leaf;
        char text[80];
        buf hex;
        audit_tree_root(&t, &root);
        buf_init_fixed(&hex, text, sizeof text);
        hex_put(&hex, slice_of(root.b, sizeof root.b));
        assert_true(slice_eq(buf_slice(&hex), slice_str(roots[i])));
        if (i == ARRAY_LEN(inputs)) break;
        audit_leaf_hash(inputs[i], &leaf);
        audit_tree_append(&t, &leaf);
    }
}

static void leaf_of(uint64_t i, audit_hash *ret) {
    char text[32];
    snprintf(text, sizeof text, "entry %llu", (unsigned long long)i);
    audit_leaf_hash(slice_str(text), ret);
}

/* Naive: the definition of RFC 6962, 2.1. */
static void naive_root(uint64_t low, uint64_t high, audit_hash *ret) {
    if (high - low == 1) {
        leaf_of(low, ret);
        return;
    }
    uint64_t k = 1;
    while (2 * k < high - low) k *= 2;
    audit_hash l, r;
    naive_root(low, low + k, &l);
    naive_root(low + k, high, &r);
    audit_node_hash(&l, &r, ret);
}

static err naive_hash(void *ctx, unsigned height, uint64_t index, audit_hash *ret) {
    assert_true((index + 1) << height <= *(uint64_t *)ctx);
    naive_root(index << height, (index + 1) << height, ret);
    return OK;
}

static void proofs_of_all_small_trees_hold(void **state) {
    (void)state;
    audit_tree t = {0};
    for (uint64_t size = 1; size <= 70; size++) {
        audit_hash leaf, root, want, proof[AUDIT_PROOF_HASHES];
        size_t n;
        leaf_of(size - 1, &leaf);
        audit_tree_append(&t, &leaf);
        audit_tree_root(&t, &root);
        naive_root(0, size, &want);
        assert_memory_equal(root.b, want.b, sizeof root.b);
        const audit_hashes h = {&size, naive_hash};
        for (uint64_t i = 0; i < size; i++) {
            assert_int_equal(audit_prove_inclusion(&h, i, size, proof, &n), OK);
            leaf_of(i, &leaf);
            assert_true(audit_inclusion_holds(&leaf, i, size, proof, n, &root));
            assert_false(audit_inclusion_holds(&leaf, i, size + 1, proof, n, &root) && size > 1 &&
                         i + 1 == size);
            if (size > 1)
                assert_false(audit_inclusion_holds(&leaf, (i + 1) % size, size, proof, n, &root));
            if (n > 0) assert_false(audit_inclusion_holds(&leaf, i, size, proof, n - 1, &root));
            if (n > 0) {
                proof[n - 1].b[7] ^= 1;
                assert_false(audit_inclusion_holds(&leaf, i, size, proof, n, &root));
            }
            assert_false(audit_inclusion_holds(&leaf, size, size, proof, n, &root));
        }
    }
}

/* RFC 9162, 2.1.4.2. */
static bool consistent(uint64_t first, uint64_t second, const audit_hash *old_root,
                       const audit_hash *new_root, const audit_hash *proof, size_t count) {
    if (first == second) return count == 0 && memcmp(old_root, new_root, sizeof *old_root) == 0;
    audit_hash path[AUDIT_PROOF_HASHES + 1];
    size_t n = 0;
    if ((first & (first - 1)) == 0) path[n++] = *old_root;
    memcpy(path + n, proof, count * sizeof *proof);
    n += count;
    uint64_t fn = first - 1, sn = second - 1;
    while (fn & 1) fn >>= 1, sn >>= 1;
    audit_hash fr = path[0], sr = path[0];
    for (size_t i = 1; i < n; i++) {
        if (sn == 0) return false;
        if ((fn & 1) || fn == sn) {
            audit_node_hash(&path[i], &fr, &fr);
            audit_node_hash(&path[i], &sr, &sr);
            while (!(fn & 1) && fn != 0) fn >>= 1, sn >>= 1;
        } else {
            audit_node_hash(&sr, &path[i], &sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr.b, old_root, 32) == 0 && memcmp(sr.b, new_root, 32) == 0;
}

static void trees_are_shown_to_have_grown(void **state) {
    (void)state;
    for (uint64_t size = 1; size <= 40; size++)
        for (uint64_t old = 1; old <= size; old++) {
            audit_hash before, after, proof[AUDIT_PROOF_HASHES];
            size_t n;
            const audit_hashes h = {&size, naive_hash};
            naive_root(0, old, &before);
            naive_root(0, size, &after);
            assert_int_equal(audit_prove_consistency(&h, old, size, proof, &n), OK);
            assert_true(consistent(old, size, &before, &after, proof, n));
        }
}

/* ---- tiles ---- */

static void paths_are_those_of_the_specification(void **state) {
    (void)state;
    static const struct {
        audit_tile tile;
        const char *path;
    } cases[] = {{{0, 0, 256}, "tile/0/000"},
                 {{0, 273, 112}, "tile/0/273.p/112"},
                 {{2, 0, 1}, "tile/2/000.p/1"},
                 {{3, 1234067, 256}, "tile/3/x001/x234/067"},
                 {{63, 5, 255}, "tile/63/005.p/255"},
                 {{AUDIT_ENTRIES, 1000, 7}, "tile/entries/x001/000.p/7"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char room[AUDIT_PATH_MAX];
        buf b;
        buf_init_fixed(&b, room, sizeof room);
        audit_tile_path(&b, &cases[i].tile);
        assert_true(slice_eq(buf_slice(&b), slice_str(cases[i].path)));
        audit_tile back;
        assert_int_equal(audit_tile_parse(buf_slice(&b), &back), OK);
        assert_int_equal(back.level, cases[i].tile.level);
        assert_int_equal(back.index, cases[i].tile.index);
        assert_int_equal(back.width, cases[i].tile.width);
    }
    static const char *const bad[] = {"",
                                      "tile",
                                      "tile/0",
                                      "tile/0/",
                                      "tile/0/0",
                                      "tile/0/0000",
                                      "tile/64/000",
                                      "tile/00/000",
                                      "tile/-1/000",
                                      "tile/0/x000/001",
                                      "tile/0/001/x002",
                                      "tile/0/000.p/0",
                                      "tile/0/000.p/256",
                                      "tile/0/000.p/01",
                                      "tile/0/000.p",
                                      "tile/0/000.p/",
                                      "tile/0/000/..",
                                      "tile/0/../000",
                                      "tile/0/000.p/1/",
                                      "tile//000",
                                      "tile/entries",
                                      "tile/entries/000.p/5.p/5",
                                      "tile/0/x001.p/002",
                                      "../tile/0/000",
                                      "tile/0/000 ",
                                      "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
                                      "tile/0/+01",
                                      "tile/0/000.p/+5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        audit_tile t;
        assert_int_equal(audit_tile_parse(slice_str(bad[i]), &t), ERR_INVALID_INPUT);
    }
    /* "A tree of size 70,000 will be represented by …" */
    assert_int_equal(audit_tile_width(0, 272, 70000), 256);
    assert_int_equal(audit_tile_width(0, 273, 70000), 112);
    assert_int_equal(audit_tile_width(0, 274, 70000), 0);
    assert_int_equal(audit_tile_width(1, 0, 70000), 256);
    assert_int_equal(audit_tile_width(1, 1, 70000), 17);
    assert_int_equal(audit_tile_width(2, 0, 70000), 1);
    assert_int_equal(audit_tile_width(1, 0, 256), 1);
}

/* ---- the folder ---- */

static void add_entries(audit_publisher *p, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        char text[32];
        snprintf(text, sizeof text, "entry %llu", (unsigned long long)i);
        assert_int_equal(audit_publisher_add(p, slice_str(text)), OK);
    }
}

static err read_checkpoint(arena *a, uint8_t seed, audit_checkpoint *ret, slice *ret_note) {
    const audit_source s = audit_folder(folder);
    const audit_verifier v = verifier(seed);
    return audit_read_checkpoint(&s, a, &v, ret, ret_note);
}

/* The whole log under the folder's checkpoint; its size. */
static uint64_t verify_folder(void) {
    arena *a = arena_new(64 << 10, 0);
    const audit_source s = audit_folder(folder);
    audit_checkpoint c;
    audit_report report;
    audit_hash want;
    slice note;
    assert_int_equal(read_checkpoint(a, 1, &c, &note), OK);
    err e = audit_verify(&s, &c, NULL, NULL, NULL, &report);
    if (e != OK) fail_msg("size %llu: %s", (unsigned long long)c.size, err_detail());
    assert_int_equal(report.entries, c.size);
    if (c.size > 0 && c.size < 3000) {
        naive_root(0, c.size, &want);
        assert_memory_equal(want.b, c.root.b, sizeof want.b);
    }
    arena_free(a);
    return c.size;
}

static audit_publisher *open_folder(void) {
    audit_publisher *p;
    const audit_signer s = signer(1);
    err e = audit_publisher_open(folder, &s, NULL, &p);
    if (e != OK) fail_msg("%s", err_detail());
    return p;
}

static bool is_there(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* While witnesses cosign nothing: what a tile had before it was full goes, but for what readers are at; also what an
 * earlier run has left. */
static void what_is_only_signed_leaves_no_partial_tiles(void **state) {
    (void)state;
    static const char *const gone[] = {"tile/0/001.p", "tile/0/002.p", "tile/0/254.p",
                                       "tile/entries/001.p", "tile/entries/254.p"};
    buf note;
    buf_init(&note, AUDIT_CHECKPOINT_MAX);
    for (int run = 0; run < 2; run++) {
        audit_publisher *p = open_folder();
        audit_checkpoint c;
        if (run == 0) add_entries(p, 0, 100);
        if (run == 0) assert_int_equal(checkpoint(p), OK);
        for (uint64_t size = 100; size < (run == 0 ? 400 : 66000); size += 100) {
            add_entries(p, size, size + 100);
            buf_reset(&note);
            assert_int_equal(audit_publisher_sign(p, &c, &note), OK);
        }
        assert_true(is_there("tile/0/000.p/100") && is_there("tile/entries/000.p/100"));
        assert_int_equal(verify_folder(), 100);
        if (run == 1) {
            for (size_t i = 0; i < ARRAY_LEN(gone); i++)
                if (is_there(gone[i])) fail_msg("%s is still there", gone[i]);
            assert_int_equal(audit_publisher_put(p, buf_slice(&note)), OK);
            assert_false(is_there("tile/0/000.p") || is_there("tile/1/000.p/1"));
            assert_int_equal(verify_folder(), 66000);
        }
        audit_publisher_close(p);
    }
    buf_done(&note);
}

/* Grown in steps, closed and opened at each: around every width, and by one. */
static void a_folder_goes_on_where_it_was(void **state) {
    (void)state;
    static const uint64_t sizes[] = {
        0,   1,   2,   3,   17,   100,  254,  255,   256,   257,   258,   511,   512,   513,
        700, 767, 768, 769, 1000, 2047, 2048, 65279, 65280, 65535, 65536, 65537, 65800, 70000};
    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        audit_publisher *p = open_folder();
        assert_int_equal(audit_publisher_size(p), size);
        add_entries(p, size, sizes[i]);
        assert_int_equal(checkpoint(p), OK);
        size = sizes[i];
        audit_publisher_close(p);
        assert_int_equal(verify_folder(), size);
    }
    static const char *const there[] = {"tile/0/272",
                                        "tile/0/273.p/112",
                                        "tile/1/000",
                                        "tile/1/001.p/17",
                                        "tile/2/000.p/1",
                                        "tile/entries/272",
                                        "tile/entries/273.p/112"};
    for (size_t i = 0; i < ARRAY_LEN(there); i++) assert_true(is_there(there[i]));
    static const char *const gone[] = {"tile/0/000.p", "tile/1/000.p", "tile/entries/000.p",
                                       "tile/0/274"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) assert_false(is_there(gone[i]));
}

/* ---- failing calls ---- */

static io failing;
static int calls_left; /* before the one that fails; negative: none does */

static bool fails(void) {
    return calls_left >= 0 && calls_left-- == 0;
}
static int failing_pwrite(const io *self, int fd, const void *p, size_t n, uint64_t at) {
    if (!fails()) return io_real.pwrite(self, fd, p, n, at);
    (void)io_real.pwrite(self, fd, p, n / 2, at); /* torn */
    return -EIO;
}
static int failing_fsync(const io *self, int fd) {
    return fails() ? -EIO : io_real.fsync(self, fd);
}
static int failing_rename(const io *self, int dir, const char *from, const char *to) {
    return fails() ? -ENOSPC : io_real.rename(self, dir, from, to);
}
static int failing_mkdir(const io *self, int dir, const char *name) {
    return fails() ? -ENOSPC : io_real.mkdir(self, dir, name);
}

static void whatever_fails_a_checkpoint_holds(void **state) {
    (void)state;
    failing = io_real;
    failing.pwrite = failing_pwrite;
    failing.fsync = failing_fsync;
    failing.rename = failing_rename;
    failing.mkdir = failing_mkdir;
    int failures = 0;
    for (int n = 0;; n++) {
        remove_folder();
        audit_publisher *p = open_folder();
        add_entries(p, 0, 250);
        assert_int_equal(checkpoint(p), OK);
        audit_publisher_close(p);
        calls_left = n;
        io_use(&failing);
        err e = OK;
        const audit_signer s = signer(1);
        e = audit_publisher_open(folder, &s, NULL, &p);
        if (e == OK) {
            for (uint64_t i = 250; i < 520 && e == OK; i++) {
                char text[32];
                snprintf(text, sizeof text, "entry %llu", (unsigned long long)i);
                e = audit_publisher_add(p, slice_str(text));
            }
            if (e == OK) e = checkpoint(p);
            if (e != OK) assert_int_equal(checkpoint(p), ERR_IO); /* no more of it */
            audit_publisher_close(p);
        }
        io_use(&io_real);
        const bool over = calls_left >= 0; /* none failed: all were tried */
        calls_left = -1;
        assert_int_equal(e == OK, over);
        const uint64_t size = verify_folder();
        assert_true(size == 250 || size == 520);
        p = open_folder(); /* and it goes on */
        add_entries(p, size, 600);
        assert_int_equal(checkpoint(p), OK);
        audit_publisher_close(p);
        assert_int_equal(verify_folder(), 600);
        if (over) break;
        failures++;
    }
    assert_true(failures > 20);
}

/* ---- tampering ---- */

static void make_log(uint64_t size) {
    audit_publisher *p = open_folder();
    add_entries(p, audit_publisher_size(p), size);
    assert_int_equal(checkpoint(p), OK);
    audit_publisher_close(p);
}

static err verify_whole(void) {
    arena *a = arena_new(64 << 10, 0);
    const audit_source s = audit_folder(folder);
    audit_checkpoint c;
    audit_report report;
    slice note;
    err e = read_checkpoint(a, 1, &c, &note);
    if (e == OK) e = audit_verify(&s, &c, NULL, NULL, NULL, &report);
    arena_free(a);
    return e;
}

static void flip(const char *name, long at) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r+be");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ 4, f);
    fclose(f);
}

static void a_changed_byte_anywhere_is_found(void **state) {
    (void)state;
    make_log(600);
    assert_int_equal(verify_whole(), OK);
    static const char *const files[] = {
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88", "tile/0/000",
        "tile/0/001",       "tile/0/002.p/88",  "tile/1/000.p/2",        "checkpoint"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        for (int k = 0; k < 24; k++) {
            const long at = k < 12 ? 5 * k : -(5 * (k - 12) + 1);
            flip(files[i], at);
            err e = verify_whole();
            if (e != ERR_CORRUPT)
                fail_msg("%s, byte %ld changed: %s", files[i], at, err_get(e)->name);
            flip(files[i], at);
        }
    flip("tile/entries/001", 100);
    assert_int_equal(verify_whole(), ERR_CORRUPT);
    assert_non_null(strstr(err_detail(), "entry 26")); /* which one */
    flip("tile/entries/001", 100);
    flip("tile/1/000.p/2", 40);
    assert_int_equal(verify_whole(), ERR_CORRUPT);
    assert_non_null(strstr(err_detail(), "tile/1/000.p/2"));
    flip("tile/1/000.p/2", 40);
    assert_int_equal(verify_whole(), OK);
    char path[128];
    snprintf(path, sizeof path, "%s/tile/0/001", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(verify_whole(), ERR_CORRUPT);
}

static void another_key_is_not_believed(void **state) {
    (void)state;
    make_log(10);
    arena *a = arena_new(64 << 10, 0);
    audit_checkpoint c;
    slice note;
    assert_int_equal(read_checkpoint(a, 2, &c, &note), ERR_CORRUPT);
    audit_publisher *p;
    const audit_signer other = signer(2);
    assert_int_equal(audit_publisher_open(folder, &other, NULL, &p), ERR_CORRUPT);
    flip("tile/0/000.p/10", 3);
    const audit_signer own = signer(1);
    assert_int_equal(audit_publisher_open(folder, &own, NULL, &p), ERR_CORRUPT);
    assert_non_null(strstr(err_detail(), "move the folder aside"));
    arena_free(a);
}

/* ---- receipts ---- */

static void receipts_hold_and_forged_ones_do_not(void **state) {
    (void)state;
    make_log(70000);
    arena *a = arena_new(64 << 10, 0);
    const audit_source s = audit_folder(folder);
    const audit_verifier v = verifier(1), other = verifier(2);
    audit_checkpoint c, of_receipt;
    slice note;
    assert_int_equal(read_checkpoint(a, 1, &c, &note), OK);
    static const uint64_t indexes[] = {0,     1,     255,   256,   257,  40000,
                                       65535, 65536, 69887, 69888, 69999};
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        audit_proof p;
        buf out;
        buf_init_arena(&out, a, 1 << 20);
        assert_int_equal(audit_prove(&s, a, indexes[i], &c, note, &out), OK);
        assert_int_equal(audit_proof_parse(a, buf_slice(&out), &p), OK);
        assert_int_equal(p.index, indexes[i]);
        char text[32];
        snprintf(text, sizeof text, "entry %llu", (unsigned long long)indexes[i]);
        assert_true(slice_eq(p.entry, slice_str(text)));
        assert_int_equal(audit_proof_check(a, &p, p.entry, &v, &of_receipt), OK);
        assert_int_equal(of_receipt.size, 70000);
        assert_int_equal(audit_proof_check(a, &p, S("entry 12345678"), &v, &of_receipt),
                         ERR_CORRUPT);
        assert_int_equal(audit_proof_check(a, &p, p.entry, &other, &of_receipt), ERR_CORRUPT);
        p.index ^= 1;
        assert_int_equal(audit_proof_check(a, &p, p.entry, &v, &of_receipt), ERR_CORRUPT);
        p.index ^= 1;
        for (size_t at = 0; at < out.len;
             at += 11) { /* any letter changed: refused, or still the same proof */
            slice bad = arena_dup(a, buf_slice(&out));
            ((uint8_t *)(uintptr_t)bad.p)[at] ^= 1;
            err e = audit_proof_parse(a, bad, &p);
            if (e == OK) e = audit_proof_check(a, &p, p.entry, &v, &of_receipt);
            assert_true(e != OK);
        }
    }
    buf out;
    buf_init_arena(&out, a, 1 << 20);
    assert_int_equal(audit_prove(&s, a, 70000, &c, note, &out), ERR_NOT_FOUND);
    arena_free(a);
}

int main(void) {
#define IN_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_specifications_note_verifies),
        cmocka_unit_test(names_are_held_to_the_specification),
        cmocka_unit_test(the_known_roots_come_out),
        cmocka_unit_test(proofs_of_all_small_trees_hold),
        cmocka_unit_test(trees_are_shown_to_have_grown),
        cmocka_unit_test(paths_are_those_of_the_specification),
        IN_FOLDER(a_folder_goes_on_where_it_was),
        IN_FOLDER(what_is_only_signed_leaves_no_partial_tiles),
        IN_FOLDER(whatever_fails_a_checkpoint_holds),
        IN_FOLDER(a_changed_byte_anywhere_is_found),
        IN_FOLDER(another_key_is_not_believed),
        IN_FOLDER(receipts_hold_and_forged_ones_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
