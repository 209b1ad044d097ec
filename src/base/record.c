/* Tagged records. */
#include "base/base.h"

void record_begin(buf *b, uint8_t version) {
    buf_byte(b, version);
}

void record_num(buf *b, uint32_t tag, uint64_t v) {
    if (v == 0) return;
    buf_varint(b, (uint64_t)tag << 1);
    buf_varint(b, v);
}

void record_bytes(buf *b, uint32_t tag, slice v) {
    if (v.len == 0) return;
    buf_varint(b, (uint64_t)tag << 1 | 1);
    buf_varint(b, v.len);
    buf_put(b, v);
}

err record_open(record_reader *r, slice record, uint8_t version) {
    uint8_t found;
    ENSURE(record.len > 0, ERR_CORRUPT, "a record is empty");
    TRY(cur_u8(&record, &found));
    ENSURE(found == version, ERR_CORRUPT, "a record has version %u, not %u", found, version);
    r->rest = record;
    return OK;
}

err record_next(record_reader *r, record_field *ret, bool *ret_more) {
    if (r->rest.len == 0) {
        *ret_more = false;
        return OK;
    }
    slice rest = r->rest;
    record_field field = {0};
    uint64_t head;
    TRY(cur_varint(&rest, &head));
    ENSURE(head >> 1 <= UINT32_MAX, ERR_CORRUPT, "a record's tag has more than 32 bits");
    field.tag = (uint32_t)(head >> 1);
    field.is_bytes = head & 1;
    TRY(cur_varint(&rest, &field.num));
    if (field.is_bytes) {
        uint64_t len = field.num;
        ENSURE(len <= rest.len, ERR_CORRUPT, "field %u of a record has %llu bytes, %zu are left",
               field.tag, (unsigned long long)len, rest.len);
        field.num = 0;
        TRY(cur_take(&rest, (size_t)len, &field.bytes));
    }
    r->rest = rest;
    *ret = field;
    *ret_more = true;
    return OK;
}
