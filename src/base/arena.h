/* An arena: the memory of one request. Allocations are bump-pointer, 16-byte aligned, and go all at
 * once. A first block is part of the arena itself, so that small requests never call malloc twice. */
#pragma once

#include "base/slice.h"

typedef struct arena arena;

/* max: bytes the arena may hand out in all; passing it aborts nothing: arena_try returns NULL.
 * 0 means no limit beyond memory. */
arena *arena_new(size_t first_block, size_t max);
arena *arena_free(arena *a); /* returns NULL */
void arena_reset(arena *a);  /* everything handed out is gone; the first block is kept */
void *arena_try(arena *a, size_t n);
/* Never NULL; for sizes that earlier checks bound (MUST). Zeroed. */
void *arena_alloc(arena *a, size_t n);
slice arena_dup(arena *a, slice s);
char *arena_cstr(arena *a, slice s); /* NUL-terminated copy */
slice arena_fmt(arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t arena_used(const arena *a);
