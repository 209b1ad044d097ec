/* What a damaged write-ahead log lost.
 *
 * It is judged before RocksDB sees it: RocksDB takes a record whose damaged length leads behind the end of the file
 * for the last one, and forgets all that follow.
 *
 * A power cut may leave of the batch that was being written some disk sectors and not others, in
 * any order. RocksDB's strict recovery takes a log that simply ends early, and refuses all else: it
 * cannot tell such a batch from rot in one that was acknowledged. Its lenient recovery drops
 * everything from the first bad byte on, acknowledged or not. So when strict recovery finds
 * corruption, this decides.
 *
 * Every batch is synced before the next is written (rows.c, invariant 1). Hence a log is torn, and
 * not damaged, when
 *   1. the bad place is in the last log file that holds a change, and all files before it are whole. What
 *      RocksDB writes into a new log while it recovers holds none (one batch without records, which says how
 *      far it came): so a recovery that the power interrupts does not turn a torn log into a damaged one;
 *   2. no batch begins after the bad place: one that does proves that the bad one was synced;
 *   3. what is missing reads as disk sectors of zeros (the file's space was reserved, never
 *      written), or lies past the end of the file: rot does not look like that.
 * Then nobody was told that the bad batch was durable, and lenient recovery drops nothing but it.
 *
 * The format is RocksDB's "Write Ahead Log File Format": blocks of 32 KiB; records of u32 masked
 * CRC-32C of type and data, u16 length, u8 type, little-endian. No record crosses a block. */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define LOG_BLOCK     32768u
#define LOG_HEAD      7u
#define SECTOR        512u
#define LOG_BYTES_MAX (2ull << 30)

enum { REC_ZERO, REC_FULL, REC_FIRST, REC_MIDDLE, REC_LAST };
typedef enum log_state { LOG_WHOLE, LOG_TORN, LOG_DAMAGED } log_state;

typedef struct log_record {
    unsigned type;
    uint64_t end;
} log_record;

static bool zeros(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] != 0) return false;
    return true;
}

static uint32_t masked_crc(slice type_and_data) {
    const uint32_t crc = crc32c(0, type_and_data);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* The record at `at`, if a whole one with a fitting CRC is there. */
static bool record_at(slice log, uint64_t at, log_record *ret) {
    const uint64_t left = LOG_BLOCK - at % LOG_BLOCK;
    if (log.p == NULL || at + LOG_HEAD > log.len || left < LOG_HEAD) return false;
    const uint8_t *p = log.p + at;
    const uint32_t masked =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    const uint32_t len = (uint32_t)p[4] | (uint32_t)p[5] << 8;
    if (p[6] < REC_FULL || p[6] > REC_LAST) return false;
    if (LOG_HEAD + len > left || at + LOG_HEAD + len > log.len) return false;
    if (masked_crc(slice_of(p + 6, 1 + (size_t)len)) != masked) return false;
    *ret = (log_record){.type = p[6], .end = at + LOG_HEAD + len};
    return true;
}

static uint64_t next_block(uint64_t at) {
    return (at / LOG_BLOCK + 1) * LOG_BLOCK;
}
/* Too short a rest of a block holds no record. */
static uint64_t skip_padding(uint64_t at) {
    return LOG_BLOCK - at % LOG_BLOCK < LOG_HEAD ? next_block(at) : at;
}

/* Does a batch begin after the bad place, or anything follow the end of the torn one? Where the
 * chain of records is broken, every byte of the block is tried as the beginning of one. */
static bool batch_after(slice log, uint64_t bad) {
    bool ended = false;
    for (uint64_t at = bad; at < log.len;) {
        log_record r;
        if (!record_at(log, at, &r)) {
            at = at + LOG_HEAD >= next_block(at) ? next_block(at) : at + 1;
            continue;
        }
        if (ended || r.type == REC_FULL || r.type == REC_FIRST) return true;
        ended = r.type == REC_LAST;
        at = skip_padding(r.end);
    }
    return false;
}

/* The first `lost` bytes of the record's CRC are zeros, and a few zeros say little: do the others fit the
 * data? Then nothing but those bytes is wrong. */
static bool crc_begins(slice log, uint64_t bad, size_t lost) {
    const uint8_t *p = log.p + bad;
    const size_t len = (size_t)p[4] | (size_t)p[5] << 8;
    if (bad + LOG_HEAD + len > log.len || bad + LOG_HEAD + len > next_block(bad)) return false;
    const uint32_t masked = masked_crc(slice_of(p + 6, 1 + len));
    for (size_t i = lost; i < 4; i++)
        if (p[i] != (uint8_t)(masked >> (8 * i))) return false;
    return true;
}

/* Is part of the record at `bad` past the end of the file, or is a sector of it zeros? */
static bool sector_missing(slice log, uint64_t bad) {
    if (bad + LOG_HEAD > log.len) return true;
    const uint64_t end =
        bad + LOG_HEAD + ((uint64_t)log.p[bad + 4] | (uint64_t)log.p[bad + 5] << 8);
    if (end > log.len && end <= next_block(bad)) return true;
    /* Of the sector in which the record begins, what stands before it was synced with an earlier one. */
    for (uint64_t at = bad; at < next_block(bad) && at < log.len;) {
        const uint64_t left = log.len - at, part = SECTOR - at % SECTOR;
        const slice rest = slice_of(log.p + at, left < part ? left : part);
        if (zeros(rest) && (at > bad || rest.len >= 4 || crc_begins(log, bad, rest.len)))
            return true;
        at += part;
    }
    return false;
}

/* Does a record that begins a batch (8 bytes sequence, 4 bytes count, little-endian) begin one without
 * changes? */
static bool no_change(slice log, uint64_t at, const log_record *r) {
    static const uint8_t none[4];
    return r->type == REC_FULL && r->end - at == LOG_HEAD + 12 &&
           memcmp(log.p + at + LOG_HEAD + 8, none, sizeof none) == 0;
}

/* ret_changes: a whole record of it holds a change. */
static log_state log_judge(slice log, bool *ret_changes) {
    *ret_changes = false;
    if (log.p == NULL || log.len == 0) return LOG_WHOLE;
    bool inside = false;
    uint64_t at = 0;
    while (at < log.len) {
        log_record r;
        if (!record_at(log, at, &r)) break;
        if (inside != (r.type == REC_MIDDLE || r.type == REC_LAST)) break;
        *ret_changes |= !no_change(log, at, &r);
        inside = r.type == REC_FIRST || r.type == REC_MIDDLE;
        at = skip_padding(r.end);
    }
    if (at >= log.len) return inside ? LOG_TORN : LOG_WHOLE;
    if (!inside && zeros(slice_skip(log, (size_t)at))) return LOG_WHOLE;
    return sector_missing(log, at) && !batch_after(log, at) ? LOG_TORN : LOG_DAMAGED;
}

/* ---- the files ---- */

typedef struct log_files {
    uint64_t *numbers;
    size_t count;
} log_files;

static void note_log(void *ctx, const char *name) {
    log_files *f = ctx;
    slice s = slice_str(name);
    uint64_t number;
    if (!slice_ends(s, S(".log")) || slice_u64(slice_take(s, s.len - 4), &number) != OK) return;
    f->numbers = reallocarray(f->numbers, f->count + 1, sizeof *f->numbers);
    MUST(f->numbers != NULL);
    f->numbers[f->count++] = number;
}

static void log_name(uint64_t number, char out[32]) {
    snprintf(out, 32, "%06llu.log", (unsigned long long)number);
}

static err read_log(local *l, int dir, uint64_t number, uint8_t **ret, size_t *ret_len) {
    char name[32];
    log_name(number, name);
    int fd = l->io->open(l->io, dir, name, O_RDONLY);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "rows/%s: open", name);
    uint64_t size = 0, allocated;
    int r = l->io->stat(l->io, fd, &size, &allocated);
    uint8_t *p = r == 0 && size <= LOG_BYTES_MAX ? calloc(1, size + 1) : NULL;
    int64_t n = p != NULL ? l->io->pread(l->io, fd, p, size, 0) : -EFBIG;
    l->io->close(l->io, fd);
    if (n != (int64_t)size) {
        free(p);
        return err_fail_errno(ERR_IO, n < 0 ? (int)-n : EIO, "rows/%s: read", name);
    }
    *ret = p;
    *ret_len = size;
    return OK;
}

static int by_number(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ret: of all of them together. */
static err judge_all(local *l, int dir, const log_files *f, log_state *ret) {
    bool torn = false;
    *ret = LOG_DAMAGED;
    for (size_t i = 0; i < f->count; i++) {
        uint8_t *p = NULL;
        size_t len = 0;
        bool changes;
        TRY(read_log(l, dir, f->numbers[i], &p, &len));
        const log_state state = log_judge(slice_of(p, len), &changes);
        free(p);
        if (state == LOG_DAMAGED || (torn && changes)) return OK;
        torn |= state == LOG_TORN;
    }
    *ret = torn ? LOG_TORN : LOG_WHOLE;
    return OK;
}

typedef err with_logs(local *l, int dir, const log_files *f, void *ctx);

/* Calls fn with the folder of the logs and their numbers. */
static err in_folder(local *l, with_logs *fn, void *ctx) {
    int dir = l->io->open(l->io, l->dir_fd, "rows", O_RDONLY | O_DIRECTORY);
    if (dir < 0) return err_fail_errno(ERR_IO, -dir, "%s/rows: open", l->path);
    log_files f = {0};
    int r = l->io->list(l->io, dir, note_log, &f);
    err e = r < 0 ? err_fail_errno(ERR_IO, -r, "%s/rows: list", l->path) : OK;
    if (e == OK && f.count > 0) qsort(f.numbers, f.count, sizeof *f.numbers, by_number);
    if (e == OK) e = fn(l, dir, &f, ctx);
    l->io->close(l->io, dir);
    free(f.numbers);
    return e;
}

typedef struct judgement {
    log_state state;
    uint64_t last;
} judgement;

static err judge_logs(local *l, int dir, const log_files *f, void *ctx) {
    judgement *j = ctx;
    j->last = f->count > 0 ? f->numbers[f->count - 1] : 0;
    return judge_all(l, dir, f, &j->state);
}

err wal_check(local *l) {
    judgement j = {0};
    TRY(in_folder(l, judge_logs, &j));
    ENSURE(j.state != LOG_DAMAGED, ERR_CORRUPT,
           "%s/rows: a log is damaged, not torn by a power cut: opened like this, the folder would "
           "lose changes that were acknowledged; restore it from a backup",
           l->path);
    return OK;
}

err wal_torn(local *l, bool *ret_torn, uint64_t *ret_last) {
    judgement j = {0};
    TRY(in_folder(l, judge_logs, &j));
    *ret_torn = j.state == LOG_TORN;
    *ret_last = j.last;
    return OK;
}

static err forget_logs(local *l, int dir, const log_files *f, void *ctx) {
    const uint64_t *last = ctx;
    char name[32];
    int r = 0;
    for (size_t i = 0; i < f->count && f->numbers[i] <= *last && r == 0; i++) {
        log_name(f->numbers[i], name);
        r = l->io->unlink(l->io, dir, name);
        if (r == -ENOENT) r = 0; /* RocksDB was faster */
    }
    if (r == 0) r = l->io->fsync(l->io, dir);
    return r < 0 ? err_fail_errno(ERR_IO, -r, "%s/rows: removing a torn log", l->path) : OK;
}

err wal_forget(local *l, uint64_t last) {
    return in_folder(l, forget_logs, &last);
}
