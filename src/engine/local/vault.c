/* The vault: a file of 128-byte slots, each one secret, overwritten in place.
 *
 * A slot, big-endian: "SRVS", u32 CRC-32C of all that follows, u64 id, u32 length, secret (96),
 * zeros. All zero: free.
 *
 * Invariants
 *   1. A slot is written whole, within one disk sector (128 divides 512), and synced before the
 *      call that wrote it returns; a torn write cannot touch a neighbour.
 *   2. A slot is handed out only while it is zero on disk, durably: destroy puts it on the free
 *      list after its sync. It enters the list once, because zeroing happens under the mutex and
 *      after the list was read from the file.
 *   3. Secrets are in no log, no row and no message.
 *
 *   FREE --local_vault_put--> USED --local_vault_destroy--> FREE
 *
 * What overwriting in place cannot promise: a drive or a copy-on-write file system may keep the old
 * sector. Secrets here are wrapped by a key that is elsewhere. */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define SLOT_MAGIC 0x53525653u
#define VAULT_GROW (1ull << 20)
#define SLOTS_MAX  (1ull << 40)

typedef enum slot_state { SLOT_FREE, SLOT_USED, SLOT_DAMAGED } slot_state;

static slot_state slot_decode(const uint8_t in[VAULT_SLOT_BYTES], uint64_t *ret_id, slice *ret) {
    static const uint8_t zeros[VAULT_SLOT_BYTES];
    if (memcmp(in, zeros, sizeof zeros) == 0) return SLOT_FREE;
    slice s = slice_of(in, VAULT_SLOT_BYTES);
    uint32_t magic, crc, len;
    if (cur_be32(&s, &magic) != OK || cur_be32(&s, &crc) != OK) return SLOT_DAMAGED;
    if (magic != SLOT_MAGIC || crc != crc32c(0, s)) return SLOT_DAMAGED;
    if (cur_be64(&s, ret_id) != OK || cur_be32(&s, &len) != OK) return SLOT_DAMAGED;
    if (len == 0 || len > ENGINE_VAULT_SECRET_MAX) return SLOT_DAMAGED;
    *ret = slice_take(s, len);
    return SLOT_USED;
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void slot_encode(uint64_t id, slice secret, uint8_t out[VAULT_SLOT_BYTES]) {
    memset(out, 0, VAULT_SLOT_BYTES);
    put32(out, SLOT_MAGIC);
    put32(out + 8, (uint32_t)(id >> 32));
    put32(out + 12, (uint32_t)id);
    put32(out + 16, (uint32_t)secret.len);
    memcpy(out + 20, secret.p, secret.len);
    put32(out + 4, crc32c(0, slice_of(out + 8, VAULT_SLOT_BYTES - 8)));
}

void vault_init(local *l) {
    l->vault.fd = -1;
    pthread_mutex_init(&l->vault.mutex, NULL);
    syncer_init(&l->vault.sync);
}

err vault_open(local *l, bool create) {
    const int flags = l->read_only ? O_RDONLY : O_RDWR;
    int fd = l->io->open(l->io, l->dir_fd, "vault", create ? flags | O_CREAT | O_EXCL : flags);
    if (fd == -ENOENT) return err_fail(ERR_CORRUPT, "%s/vault is missing", l->path);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s/vault: open", l->path);
    l->vault.fd = fd;
    uint64_t size, allocated;
    int r = l->io->stat(l->io, fd, &size, &allocated);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s/vault: stat", l->path);
    l->vault.slots = size / VAULT_SLOT_BYTES;
    return OK;
}

void vault_close(local *l) {
    vault *v = &l->vault;
    if (v->fd >= 0) l->io->close(l->io, v->fd);
    free(v->free_slots);
    syncer_done(&v->sync);
    pthread_mutex_destroy(&v->mutex);
}

static void free_push_locked(vault *v, uint64_t slot) {
    if (v->free_count == v->free_cap) {
        v->free_cap = v->free_cap == 0 ? 1024 : v->free_cap * 2;
        v->free_slots = reallocarray(v->free_slots, v->free_cap, sizeof *v->free_slots);
        MUST(v->free_slots != NULL);
    }
    v->free_slots[v->free_count++] = slot;
}

/* Reads all slots, calling each for those of one state or all; in pieces of 1 MiB. */
static err each_slot(local *l, err (*each)(void *ctx, uint64_t slot, slot_state state, uint64_t id),
                     void *ctx) {
    uint8_t *piece = malloc(VAULT_GROW);
    MUST(piece != NULL);
    err e = OK;
    for (uint64_t slot = 0; slot < l->vault.slots && e == OK;) {
        int64_t n = l->io->pread(l->io, l->vault.fd, piece, VAULT_GROW, slot * VAULT_SLOT_BYTES);
        if (n < 0) e = err_fail_errno(ERR_IO, (int)-n, "%s/vault: read", l->path);
        if (n < (int64_t)VAULT_SLOT_BYTES) break;
        for (int64_t at = 0; at + VAULT_SLOT_BYTES <= n && slot < l->vault.slots;
             at += VAULT_SLOT_BYTES) {
            uint64_t id = 0;
            slice secret;
            slot_state state = slot_decode(piece + at, &id, &secret);
            e = each(ctx, slot, state, id);
            if (e != OK) break;
            slot++;
        }
    }
    explicit_bzero(piece, VAULT_GROW);
    free(piece);
    return e;
}

static err collect_free(void *ctx, uint64_t slot, slot_state state, uint64_t id) {
    (void)id;
    if (state == SLOT_FREE) free_push_locked(ctx, slot);
    return OK;
}

/* The free list is built at the first put or destroy. Low slots come first. A scan that failed
 * halfway is begun again. */
static err scan_locked(local *l) {
    vault *v = &l->vault;
    if (v->scanned) return OK;
    v->free_count = 0;
    TRY(each_slot(l, collect_free, v));
    for (size_t i = 0, j = v->free_count; i + 1 < j; i++) {
        j--;
        const uint64_t t = v->free_slots[i];
        v->free_slots[i] = v->free_slots[j];
        v->free_slots[j] = t;
    }
    v->scanned = true;
    return OK;
}

static err grow_locked(local *l) {
    vault *v = &l->vault;
    const uint64_t size = v->slots * VAULT_SLOT_BYTES, more = VAULT_GROW - size % VAULT_GROW;
    ENSURE(v->slots < SLOTS_MAX, ERR_NO_SPACE, "the vault is full");
    int r = l->io->fallocate(l->io, v->fd, size, more);
    if (r == -EOPNOTSUPP || r == -ENOSYS) r = l->io->truncate(l->io, v->fd, size + more);
    if (r == -ENOSPC || r == -EDQUOT)
        return err_fail_errno(ERR_NO_SPACE, -r, "%s/vault: grow", l->path);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s/vault: grow", l->path);
    r = l->io->fsync(l->io, v->fd);
    if (r < 0) return local_fail(l, err_fail_errno(ERR_IO, -r, "%s/vault: fsync", l->path));
    v->slots = (size + more) / VAULT_SLOT_BYTES;
    for (uint64_t slot = v->slots; slot-- > size / VAULT_SLOT_BYTES;) free_push_locked(v, slot);
    return OK;
}

static err write_slot_locked(local *l, uint64_t slot, const uint8_t bytes[VAULT_SLOT_BYTES]) {
    int r = l->io->pwrite(l->io, l->vault.fd, bytes, VAULT_SLOT_BYTES, slot * VAULT_SLOT_BYTES);
    if (r < 0) return local_fail(l, err_fail_errno(ERR_IO, -r, "%s/vault: write", l->path));
    return OK;
}

static err read_slot(local *l, uint64_t slot, uint8_t bytes[VAULT_SLOT_BYTES]) {
    int64_t n = -EIO;
    if (slot < SLOTS_MAX)
        n = l->io->pread(l->io, l->vault.fd, bytes, VAULT_SLOT_BYTES, slot * VAULT_SLOT_BYTES);
    ENSURE(slot < SLOTS_MAX && (n < 0 || n == VAULT_SLOT_BYTES), ERR_CORRUPT,
           "%s/vault has no slot %llu", l->path, (unsigned long long)slot);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "%s/vault: read", l->path);
    return OK;
}

err local_vault_put(engine *e, uint64_t id, slice secret, uint64_t *ret_slot) {
    local *l = local_of(e);
    vault *v = &l->vault;
    TRY(local_writable(l));
    uint8_t bytes[VAULT_SLOT_BYTES];
    slot_encode(id, secret, bytes);
    pthread_mutex_lock(&v->mutex);
    err er = scan_locked(l);
    if (er == OK && v->free_count == 0) er = grow_locked(l);
    uint64_t slot = 0;
    if (er == OK) {
        slot = v->free_slots[--v->free_count];
        er = write_slot_locked(l, slot, bytes);
    }
    pthread_mutex_unlock(&v->mutex);
    explicit_bzero(bytes, sizeof bytes);
    TRY(er);
    TRY(syncer_wait(&v->sync, l, v->fd, "vault"));
    *ret_slot = slot;
    return OK;
}

err local_vault_get(engine *e, uint64_t id, uint64_t slot, arena *a, slice *ret) {
    local *l = local_of(e);
    uint8_t bytes[VAULT_SLOT_BYTES];
    uint64_t found = 0;
    slice secret = SLICE_NONE;
    TRY(read_slot(l, slot, bytes));
    slot_state state = slot_decode(bytes, &found, &secret);
    if (state == SLOT_DAMAGED) { /* or seen while it was being written: once more, under the lock */
        pthread_mutex_lock(&l->vault.mutex);
        err again = read_slot(l, slot, bytes);
        pthread_mutex_unlock(&l->vault.mutex);
        TRY(again);
        state = slot_decode(bytes, &found, &secret);
    }
    const unsigned long long n = (unsigned long long)slot;
    ENSURE(state != SLOT_FREE, ERR_KEY_DESTROYED, "vault slot %llu: destroyed", n);
    ENSURE(state == SLOT_USED, ERR_CORRUPT, "%s/vault: slot %llu does not verify", l->path, n);
    ENSURE(found == id, ERR_CORRUPT, "%s/vault: slot %llu holds another id", l->path, n);
    uint8_t *copy = arena_try(a, secret.len);
    if (copy != NULL) memcpy(copy, secret.p, secret.len);
    const size_t len = secret.len;
    explicit_bzero(bytes, sizeof bytes);
    ENSURE(copy != NULL, ERR_NO_MEMORY, "a key does not fit the request's memory");
    *ret = slice_of(copy, len);
    return OK;
}

/* A slot that holds another id was destroyed before and handed out again: nothing is left to do.
 * One that does not verify is overwritten, since it may hold what was to be destroyed; and one that reads
 * as zeros too: after a failed sync that may be the page cache's word only, and the secret still on the disk. */
err local_vault_destroy(engine *e, uint64_t id, uint64_t slot) {
    local *l = local_of(e);
    vault *v = &l->vault;
    TRY(local_writable(l));
    uint8_t bytes[VAULT_SLOT_BYTES];
    uint64_t found = 0;
    slice secret;
    pthread_mutex_lock(&v->mutex);
    /* The free list is read before the slot is zeroed: read later, it would name the slot before its
     * sync, and the push below would name it again. */
    err er = scan_locked(l);
    if (er == OK) er = read_slot(l, slot, bytes);
    slot_state state = SLOT_FREE;
    if (er == OK) state = slot_decode(bytes, &found, &secret);
    const bool wipe = state != SLOT_USED || found == id;
    explicit_bzero(bytes, sizeof bytes);
    if (er == OK && wipe) er = write_slot_locked(l, slot, bytes);
    pthread_mutex_unlock(&v->mutex);
    TRY(er);
    TRY(syncer_wait(&v->sync, l, v->fd, "vault"));
    if (!wipe || state == SLOT_FREE) return OK;
    pthread_mutex_lock(&v->mutex);
    free_push_locked(v, slot);
    pthread_mutex_unlock(&v->mutex);
    return OK;
}

typedef struct slot_walk {
    err (*each)(void *ctx, uint64_t id, uint64_t slot);
    void *ctx;
} slot_walk;

static err tell_slot(void *ctx, uint64_t slot, slot_state state, uint64_t id) {
    const slot_walk *w = ctx;
    return state == SLOT_USED ? w->each(w->ctx, id, slot) : OK;
}

/* Without the lock: a slot seen while it is written does not verify, and is passed over. */
err local_vault_each(engine *e, err (*each)(void *ctx, uint64_t id, uint64_t slot), void *ctx) {
    slot_walk w = {each, ctx};
    return each_slot(local_of(e), tell_slot, &w);
}

/* Slots, piece by piece, as they stand. */
static err copy_slots_locked(local *l, int to) {
    uint8_t *piece = malloc(VAULT_GROW);
    MUST(piece != NULL);
    int64_t n = 0;
    int r = 0;
    for (uint64_t at = 0; r == 0 && at < l->vault.slots * VAULT_SLOT_BYTES; at += (uint64_t)n) {
        n = l->io->pread(l->io, l->vault.fd, piece, VAULT_GROW, at);
        if (n <= 0) break;
        r = l->io->pwrite(l->io, to, piece, (size_t)n, at);
    }
    explicit_bzero(piece, VAULT_GROW);
    free(piece);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "%s/vault: read", l->path);
    return r < 0 ? err_fail_errno(ERR_IO, -r, "%s: copying the vault", l->path) : OK;
}

err vault_copy(local *l, err (*hold)(local *l), int fd) {
    pthread_mutex_lock(&l->vault.mutex);
    err e = hold(l);
    if (e == OK) e = copy_slots_locked(l, fd);
    pthread_mutex_unlock(&l->vault.mutex);
    return e;
}

typedef struct slot_report {
    local *l;
    engine_report *report;
    void *ctx;
} slot_report;

static err report_slot(void *ctx, uint64_t slot, slot_state state, uint64_t id) {
    (void)id;
    slot_report *r = ctx;
    if (state != SLOT_DAMAGED) return OK;
    char where[64];
    const unsigned long long n = slot;
    snprintf(where, sizeof where, "vault, slot %llu, offset %llu", n, n * VAULT_SLOT_BYTES);
    r->report(r->ctx, "the slot is neither free nor does its CRC-32C fit: its key is lost", where);
    return OK;
}

err vault_check(local *l, engine_report *report, void *ctx) {
    slot_report r = {l, report, ctx};
    pthread_mutex_lock(&l->vault.mutex); /* no slot is half written meanwhile */
    err e = each_slot(l, report_slot, &r);
    pthread_mutex_unlock(&l->vault.mutex);
    return e;
}
