/* The record reader: fields lie inside the record, and a record whose fields all say something is
 * written again byte for byte.
 * fuzz-folders: base */
#include "fuzz.h"

FUZZ(data) {
    record_reader r;
    record_field f;
    buf again;
    bool more = true, exact = true;
    err e = record_open(&r, data, 1);
    if (e != OK) {
        MUST(e == ERR_CORRUPT);
        return;
    }
    buf_init(&again, data.len);
    record_begin(&again, 1);
    for (size_t steps = 0; (e = record_next(&r, &f, &more)) == OK && more; steps++) {
        MUST(steps < data.len);
        if (f.is_bytes) {
            MUST(f.bytes.p > data.p && f.bytes.p + f.bytes.len <= data.p + data.len && f.num == 0);
            record_bytes(&again, f.tag, f.bytes);
            if (f.bytes.len == 0) exact = false;
        } else {
            MUST(f.bytes.len == 0);
            record_num(&again, f.tag, f.num);
            if (f.num == 0) exact = false;
        }
    }
    MUST(e == OK || e == ERR_CORRUPT);
    MUST(!again.failed);
    if (e == OK && exact) MUST(slice_eq(buf_slice(&again), data));
    buf_done(&again);
}
