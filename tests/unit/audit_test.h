/* What the tests of audit/ share: a published folder of their own, who signs it, and an entry. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "audit/audit.h"
#include "base_test.h"

static char folder[64]; /* a test program has one at a time */

static inline int folder_remove_one(const char *path, const struct stat *st, int kind,
                                    struct FTW *w) {
    (void)st, (void)kind, (void)w;
    return remove(path);
}

static inline void remove_folder(void) {
    (void)nftw(folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Names the program's folder, and sees that it is not there. */
static inline void name_folder(const char *what) {
    snprintf(folder, sizeof folder, "/tmp/%s-test-%d", what, getpid());
    remove_folder();
}

static inline audit_signer signer(uint8_t seed) {
    audit_signer s = {.name = S("example.com/records")};
    memset(s.seed, seed, sizeof s.seed);
    return s;
}

/* Signs what was added and publishes it. */
static inline err checkpoint(audit_publisher *p) {
    audit_checkpoint c;
    buf note;
    buf_init(&note, AUDIT_CHECKPOINT_MAX);
    err e = audit_publisher_sign(p, &c, &note);
    if (e == OK) e = audit_publisher_put(p, buf_slice(&note));
    buf_done(&note);
    return e;
}

/* For store_recorder.make. */
static inline void make_entry(store_recorder *r, buf *entry, buf *private_part) {
    const audit_record record = {.time_us = clock_wall_us(),
                                 .region = S("local"),
                                 .action = "Get Blob",
                                 .audit_class = "consultation",
                                 .actor_kind = "key",
                                 .result = "ok"};
    (void)r;
    audit_record_put(entry, &record);
    buf_str(private_part, "opening");
}
