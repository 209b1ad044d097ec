/* An engine in memory: the second implementation of engine/engine.h, for tests. What is on its disk
 * outlives the engine, so a store can be opened again on it; streams that nobody adopted do not. It
 * aborts when a stream is released twice or a row's rules are broken, and can be told to fail.
 *
 * A test includes memory_engine.c. */
#pragma once

#include "engine/engine.h"

typedef struct memory_disk memory_disk;

memory_disk *memory_disk_new(void);
void memory_disk_free(memory_disk *d);
/* One engine at a time. */
engine *memory_engine_open(memory_disk *d);

/* The next n commits say e and do nothing (ERR_CONFLICT, ERR_NO_SPACE, ERR_IO). */
void memory_disk_fail_commits(memory_disk *d, int n, err e);
/* While on, nowait calls say ERR_WOULD_BLOCK. */
void memory_disk_set_cold(memory_disk *d, bool on);
/* Called before each commit, outside of all locks but the shard's. */
void memory_disk_on_commit(memory_disk *d, void (*fn)(void *ctx), void *ctx);

size_t memory_disk_rows(memory_disk *d, engine_table t);
size_t memory_disk_streams(memory_disk *d);
size_t memory_disk_vault_live(memory_disk *d);
/* Flips a bit of the n-th row's value (modulo the table's rows), or of a stream. False: there is
 * none. */
bool memory_disk_damage_row(memory_disk *d, engine_table t, size_t n);
bool memory_disk_damage_stream(memory_disk *d, size_t n);
/* Flips a bit of a slot of the vault. */
void memory_disk_damage_slot(memory_disk *d, size_t slot);
/* Deletes the n-th row of a table behind the engine's back. */
bool memory_disk_lose_row(memory_disk *d, engine_table t, size_t n);
/* The n-th key of a table; borrowed. */
slice memory_disk_key(memory_disk *d, engine_table t, size_t n);
