/* Memory that streams are written from. It begins at a block, as writes past the page cache demand. Large
 * buffers are used again: fresh memory costs a page fault for each 4 KiB. */
#include "engine/local/private.h"

void buffers_init(local *l) {
    pthread_mutex_init(&l->buffers.mutex, NULL);
}

void buffers_done(local *l) {
    buffers *b = &l->buffers;
    MUST(b->large == 0);
    for (unsigned i = 0; i < b->kept_count; i++) free(b->kept[i]);
    pthread_mutex_destroy(&b->mutex);
}

static uint8_t *blocks_new(size_t n) {
    uint8_t *p = aligned_alloc(EXTENT_BLOCK, n);
    MUST(p != NULL);
    return p;
}

bool stream_buffer_large(local *l, stream_buffer *ret) {
    buffers *all = &l->buffers;
    uint8_t *p = NULL;
    pthread_mutex_lock(&all->mutex);
    const bool granted = all->large < STREAM_BUFFERS_MAX;
    if (granted) all->large++;
    if (granted && all->kept_count > 0) p = all->kept[--all->kept_count];
    pthread_mutex_unlock(&all->mutex);
    if (!granted) return false;
    if (p == NULL) p = blocks_new(STREAM_BUFFER + STREAM_SLACK + STREAM_TAIL_MAX);
    *ret = (stream_buffer){.p = p, .cap = STREAM_BUFFER, .slack = STREAM_SLACK, .large = true};
    return true;
}

stream_buffer stream_buffer_get(local *l, uint64_t len) {
    stream_buffer b;
    if (len > STREAM_BUFFER_SMALL && stream_buffer_large(l, &b)) return b;
    const uint64_t blocks = (len + EXTENT_BLOCK - 1) / EXTENT_BLOCK * EXTENT_BLOCK;
    b = (stream_buffer){.cap = len < STREAM_BUFFER_SMALL ? (size_t)blocks : STREAM_BUFFER_SMALL};
    b.p = blocks_new(b.cap + STREAM_TAIL_MAX);
    return b;
}

void stream_buffer_put(local *l, stream_buffer b) {
    if (b.large) {
        buffers *all = &l->buffers;
        pthread_mutex_lock(&all->mutex);
        MUST(all->large > 0);
        all->large--;
        if (all->kept_count < STREAM_BUFFERS_KEPT) {
            all->kept[all->kept_count++] = b.p;
            b.p = NULL;
        }
        pthread_mutex_unlock(&all->mutex);
    }
    free(b.p);
}
