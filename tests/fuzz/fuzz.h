/* What every fuzz target shares. A target is one file, fuzz_NAME.c, with
 *
 *   - a line "fuzz-folders: base ..." in its opening comment: the folders of src/ it is linked
 * with;
 *   - FUZZ(data): called with each input; checks what must hold with MUST, returns nothing;
 *   - a folder corpus/NAME of inputs worth keeping, run as a plain test by tests/fuzz/run.
 *
 * An input that once broke something stays in the corpus under a name that says what it was. */
#pragma once

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define FUZZ(data)                                                                                 \
    static void fuzz_one(slice data);                                                              \
    int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {                                       \
        fuzz_one(slice_of(n > 0 ? p : (const uint8_t *)"", n));                                    \
        return 0;                                                                                  \
    }                                                                                              \
    static void fuzz_one(slice data)
