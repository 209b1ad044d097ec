/* Publishes a log and stops wherever it is told, so that independent verifiers can look at it there.
 *
 *     grow FOLDER < SIZES
 *
 * Prints the log's key. Then for each number read: adds entries up to that size, publishes, and prints the size. Entry i is
 * i bytes and a bit long, so bundles are of many lengths, one of them the longest an entry may be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"

#define ENTRY_MAX 65535
#define LONGEST   300 /* the number of the entry that has it */

static err add(audit_publisher *p, uint64_t index) {
    static uint8_t entry[ENTRY_MAX];
    const size_t n = index == LONGEST ? ENTRY_MAX : 20 + index % 97;
    memset(entry, 'x', n);
    (void)!snprintf((char *)entry, n, "%llu", (unsigned long long)index);
    return audit_publisher_add(p, slice_of(entry, n));
}

static err publish(audit_publisher *p) {
    audit_checkpoint c;
    buf note;
    buf_init(&note, AUDIT_CHECKPOINT_MAX);
    err e = audit_publisher_sign(p, &c, &note);
    if (e == OK) e = audit_publisher_put(p, buf_slice(&note));
    buf_done(&note);
    return e;
}

static err grow_to(audit_publisher *p, uint64_t size) {
    while (audit_publisher_added(p) < size) TRY(add(p, audit_publisher_added(p)));
    return publish(p);
}

static void print_key(const audit_signer *s) {
    audit_verifier v;
    buf text;
    buf_init(&text, 1024);
    audit_verifier_of(s, &v);
    audit_verifier_put(&text, &v);
    printf("%.*s\n", SLICE_ARG(buf_slice(&text)));
    fflush(stdout);
    buf_done(&text);
}

int main(int argc, char **argv) {
    audit_signer s = {.name = S("sizes.example/log")};
    audit_publisher *p;
    unsigned long long size;
    memset(s.seed, 7, sizeof s.seed);
    if (argc != 2) return 2;
    err e = audit_publisher_open(argv[1], &s, NULL, &p);
    if (e == OK) {
        print_key(&s);
        while (e == OK && scanf("%llu", &size) == 1) {
            e = grow_to(p, size);
            if (e == OK) printf("%llu\n", size);
            fflush(stdout);
        }
        audit_publisher_close(p);
    }
    if (e != OK) fprintf(stderr, "grow: %s\n", err_detail());
    return e != OK;
}
