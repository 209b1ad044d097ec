/* Tagged records: how rows are written on disk. A record is a version byte and a sequence of
 * fields, each varint(tag << 1 | kind) followed by a varint (kind 0) or varint length and bytes
 * (kind 1). Fields a reader does not know are kept out of its way, so a later version may add
 * fields without a new format. Tags are never reused. */
#pragma once

#include "base/buf.h"

typedef struct record_reader {
    slice rest;
} record_reader;

typedef struct record_field {
    uint32_t tag;
    bool is_bytes;
    uint64_t num;
    slice bytes;
} record_field;

void record_begin(buf *b, uint8_t version);
void record_num(buf *b, uint32_t tag, uint64_t v); /* 0 is left out: absent reads as 0 */
void record_bytes(buf *b, uint32_t tag, slice v);  /* empty is left out */
/* ERR_CORRUPT when the version is not `version` or the record is empty. */
err record_open(record_reader *r, slice record, uint8_t version) CHECKED;
/* ret_more false at the end. ERR_CORRUPT for malformed fields. */
err record_next(record_reader *r, record_field *ret, bool *ret_more) CHECKED;
