/* When blobs were last read (setting last_access_tracking). "Last access time tracking": reading or
 * writing content counts, reading properties, metadata and tags does not; a read is noted when the
 * time that stands there is older than 24 hours.
 *
 * A read only looks at the row that it has anyway. When its time is due it leaves a job with the
 * reaper, which changes the row; a second read meanwhile finds the note already made. What a full queue
 * drops, or a crash, the next read notes. */
#include "store/internal.h"

#define ACCESS_EVERY_US    (24ll * 3600 * 1000000)
#define ACCESS_PENDING_MAX 10000

static bool due(const row_blob *r, int64_t now_us) {
    return r->pub.accessed_us == STORE_TIME_NONE || now_us - r->pub.accessed_us >= ACCESS_EVERY_US;
}

static _Atomic uint64_t *slot_of(store *s, uint64_t hash) {
    return &s->access_noted[hash % ARRAY_LEN(s->access_noted)];
}

void access_note(store *s, const struct container *k, slice base, slice name, const row_blob *r) {
    if (!k->track_access) return;
    int64_t now_us = clock_wall_us();
    if (!due(r, now_us)) return;
    uint64_t hash = slice_hash(base);
    if (atomic_exchange(slot_of(s, hash), hash) == hash) return;
    if (atomic_fetch_add(&s->access_pending, 1) >= ACCESS_PENDING_MAX) {
        atomic_fetch_sub(&s->access_pending, 1);
        atomic_store(slot_of(s, hash), 0);
        return;
    }
    reaper_submit(s, job_new_access(k->pub.id, hash, name, now_us));
}

void access_forget(store *s, const job *j) {
    uint64_t hash = j->hash;
    atomic_compare_exchange_strong(slot_of(s, j->hash), &hash, 0);
    atomic_fetch_sub(&s->access_pending, 1);
}

err access_write(store *s, const job *j, arena *a) {
    change ch CLEANUP(change_done);
    row_blob row;
    bool exists;
    TRY(change_begin_unchecked(&ch, s, a, j->container, j->name));
    TRY(change_blob(&ch, &row, &exists));
    if (!exists || !due(&row, j->accessed_us)) return OK;
    row.pub.accessed_us = j->accessed_us;
    change_put_row(&ch, &row);
    return change_commit(&ch);
}
