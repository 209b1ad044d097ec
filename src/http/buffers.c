/* Buffers of bodies under way. Large ones up to a budget, so that many slow clients cost little
 * each; a few are kept, so that a stream does not map and unmap memory. */
#include "base/base.h"
#include "http/internal.h"

struct http_buffers {
    pthread_mutex_t lock;
    unsigned large; /* in use */
    uint8_t *kept[HTTP_BUFFERS_FREE];
    unsigned kept_count;
};

http_buffers *http_buffers_new(void) {
    http_buffers *b = calloc(1, sizeof(*b));
    MUST(b != NULL && pthread_mutex_init(&b->lock, NULL) == 0);
    return b;
}

http_buffers *http_buffers_free(http_buffers *b) {
    if (b == NULL) return NULL;
    for (unsigned i = 0; i < b->kept_count; i++) free(b->kept[i]);
    pthread_mutex_destroy(&b->lock);
    free(b);
    return NULL;
}

uint8_t *http_buffer_get(http_buffers *b, size_t *ret_cap) {
    uint8_t *p = NULL;
    pthread_mutex_lock(&b->lock);
    bool large = b->large < HTTP_BUFFERS_MAX;
    if (large) b->large++;
    if (large && b->kept_count > 0) p = b->kept[--b->kept_count];
    pthread_mutex_unlock(&b->lock);
    *ret_cap = large ? HTTP_BUFFER_LARGE : HTTP_BUFFER_SMALL;
    if (p == NULL) p = malloc(*ret_cap);
    MUST(p != NULL);
    return p;
}

void http_buffer_put(http_buffers *b, uint8_t *p, size_t cap) {
    if (p == NULL) return;
    if (cap == HTTP_BUFFER_LARGE) {
        pthread_mutex_lock(&b->lock);
        b->large--;
        if (b->kept_count < HTTP_BUFFERS_FREE) {
            b->kept[b->kept_count++] = p;
            p = NULL;
        }
        pthread_mutex_unlock(&b->lock);
    }
    free(p);
}
