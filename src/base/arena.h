/* An arena: the memory of one request. Allocations are bump-pointer, 16-byte aligned, and go all at
 * once. A first block is part of the arena itself, so that small requests never call malloc twice.
 */
#pragma once

#include "base/slice.h"

typedef struct arena arena;

/* max: bytes the arena may hand out in all; passing it aborts nothing: arena_try returns NULL.
 * 0 means no limit beyond memory. */
arena *arena_new(size_t first_block, size_t max);
arena *arena_free(arena *a); /* returns NULL */
void arena_reset(arena *a);  /* everything handed out is gone; the first block is kept */
/* NULL past the maximum. Not zeroed. */
void *arena_try(arena *a, size_t n);
/* The old_n bytes at p (an allocation of this arena, or NULL and 0) with room for n: in place when
 * p was the last allocation, moved otherwise. NULL past the maximum, p then stays as it was. */
void *arena_grow_try(arena *a, void *p, size_t old_n, size_t n);
/* Never NULL; for sizes that earlier checks bound (MUST). Zeroed. */
void *arena_alloc(arena *a, size_t n);
slice arena_dup(arena *a, slice s);
char *arena_cstr(arena *a, slice s); /* NUL-terminated copy */
slice arena_fmt(arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t arena_used(const arena *a);
