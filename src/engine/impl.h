/* For those who implement an engine, nobody else: what engine/engine.c needs to find the vtable
 * from a transaction, a cursor or a stream. An engine's own types begin with these. */
#pragma once

#include "engine/engine.h"

struct engine_txn {
    engine *e;
};

struct engine_cursor {
    engine *e;
};

struct engine_stream {
    engine *e;
};
