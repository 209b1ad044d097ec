/* base: the vocabulary every other folder speaks.
 *
 * What lives here: slices and growing buffers, arenas, the one error type and its table, the clock,
 * text encodings, checksums, the structured log, the configuration reader. Nothing here knows what
 * a blob is. Base is the one folder whose names carry no folder prefix: `slice`, `buf`, `arena`,
 * `err` are words, not modules.
 *
 * What it promises: every function that can fail returns `err` and is CHECKED (the compiler makes
 * you look); outputs named `ret_x` are untouched on failure; destructors accept NULL.
 * What it needs from below: libc, libyaml (config). Nothing else. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/record.h"
#include "base/slice.h"

#include "base/banned.h"
