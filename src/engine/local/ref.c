/* Stream references and the frames of runs: what stands on disk, and how it is read back.
 *
 * A reference, in the value of somebody's row:
 *   version (1), varint length, varint stream id, varint count, then for each run
 *   varint extent, varint offset in blocks, varint data length; last CRC-32C, big-endian.
 * A run's disk length follows from its data length.
 *
 * A frame, the last 64 bytes of a run, big-endian:
 *   "SRUN" u32 version  u32 extent  u32 index  u64 offset  u64 data length  u64 disk length
 *   u64 stream  u32 CRC-32C of the segment table  8 zero bytes  u32 CRC-32C of the 60 before */
#include "engine/local/private.h"

#define REF_VERSION   1
#define FRAME_VERSION 1
#define FRAME_MAGIC   0x5352554eu

uint32_t run_blocks_for(uint64_t data_len) {
    uint64_t len = data_len + 4ull * run_segments(data_len) + FRAME_BYTES;
    return (uint32_t)((len + EXTENT_BLOCK - 1) / EXTENT_BLOCK);
}

uint64_t run_data_max(uint64_t disk_len) {
    if (disk_len <= FRAME_BYTES) return 0;
    const uint64_t room = disk_len - FRAME_BYTES;
    uint64_t len = room / (SEGMENT_BYTES + 4) * SEGMENT_BYTES;
    const uint64_t rest = room % (SEGMENT_BYTES + 4);
    return rest > 4 ? len + rest - 4 : len;
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put64(uint8_t *p, uint64_t v) {
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

void frame_encode(const frame *f, uint8_t out[FRAME_BYTES]) {
    memset(out, 0, FRAME_BYTES);
    put32(out, FRAME_MAGIC);
    put32(out + 4, FRAME_VERSION);
    put32(out + 8, f->extent);
    put32(out + 12, f->index);
    put64(out + 16, f->offset);
    put64(out + 24, f->data_len);
    put64(out + 32, f->disk_len);
    put64(out + 40, f->stream);
    put32(out + 48, f->table_crc);
    put32(out + 60, crc32c(0, slice_of(out, 60)));
}

err frame_decode(const uint8_t in[FRAME_BYTES], frame *ret) {
    slice s = slice_of(in, FRAME_BYTES);
    uint32_t magic, version, crc;
    uint64_t reserved;
    frame f;
    TRY(cur_be32(&s, &magic));
    TRY(cur_be32(&s, &version));
    TRY(cur_be32(&s, &f.extent));
    TRY(cur_be32(&s, &f.index));
    TRY(cur_be64(&s, &f.offset));
    TRY(cur_be64(&s, &f.data_len));
    TRY(cur_be64(&s, &f.disk_len));
    TRY(cur_be64(&s, &f.stream));
    TRY(cur_be32(&s, &f.table_crc));
    TRY(cur_be64(&s, &reserved));
    TRY(cur_be32(&s, &crc));
    ENSURE(crc == crc32c(0, slice_of(in, 60)), ERR_CORRUPT, "frame: its CRC-32C does not fit");
    ENSURE(magic == FRAME_MAGIC && version == FRAME_VERSION && reserved == 0, ERR_CORRUPT,
           "frame: not one of version %d", FRAME_VERSION);
    *ret = f;
    return OK;
}

bool frame_is_of(const frame *f, const run *r, uint64_t stream) {
    return f->extent == r->extent && f->offset == r->offset && f->data_len == r->data_len &&
           f->disk_len == run_disk_len(r) && f->stream == stream;
}

err ref_encode(uint64_t stream, const run *runs, uint32_t count, arena *a, slice *ret) {
    MUST(count <= RUNS_MAX);
    uint64_t len = 0;
    for (uint32_t i = 0; i < count; i++) len += runs[i].data_len;
    buf b;
    buf_init_arena(&b, a, 4096);
    buf_byte(&b, REF_VERSION);
    buf_varint(&b, len);
    buf_varint(&b, stream);
    buf_varint(&b, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_varint(&b, runs[i].extent);
        buf_varint(&b, runs[i].offset / EXTENT_BLOCK);
        buf_varint(&b, runs[i].data_len);
    }
    buf_be32(&b, crc32c(0, buf_slice(&b)));
    TRY(buf_check(&b));
    *ret = buf_slice(&b);
    return OK;
}

/* The head: checks version and CRC, leaves *in at the runs. */
static err ref_open(slice *in, uint64_t *ret_len, uint64_t *ret_stream, uint64_t *ret_count) {
    slice s = *in, tail;
    ENSURE(s.len >= 8 && s.len <= 4096, ERR_CORRUPT, "stream reference: %zu bytes", s.len);
    tail = slice_skip(s, s.len - 4);
    s.len -= 4;
    uint32_t crc;
    TRY(cur_be32(&tail, &crc));
    ENSURE(crc == crc32c(0, s), ERR_CORRUPT, "stream reference: its CRC-32C does not fit");
    uint8_t version;
    TRY(cur_u8(&s, &version));
    ENSURE(version == REF_VERSION, ERR_CORRUPT, "stream reference: version %u", version);
    TRY(cur_varint(&s, ret_len));
    TRY(cur_varint(&s, ret_stream));
    TRY(cur_varint(&s, ret_count));
    ENSURE(*ret_count <= RUNS_MAX, ERR_CORRUPT, "stream reference: too many runs");
    *in = s;
    return OK;
}

static err ref_run(slice *s, run *ret) {
    uint64_t id, block, len;
    TRY(cur_varint(s, &id));
    TRY(cur_varint(s, &block));
    TRY(cur_varint(s, &len));
    ENSURE(id <= UINT32_MAX && block <= UINT32_MAX && len > 0 && len <= UINT32_MAX, ERR_CORRUPT,
           "stream reference: a run is out of range");
    *ret = (run){.extent = (uint32_t)id,
                 .blocks = run_blocks_for(len),
                 .offset = block * EXTENT_BLOCK,
                 .data_len = len};
    return OK;
}

err ref_decode(slice in, ref *ret) {
    uint64_t count, sum = 0;
    TRY(ref_open(&in, &ret->len, &ret->stream, &count));
    ret->count = (uint32_t)count;
    for (uint32_t i = 0; i < ret->count; i++) {
        TRY(ref_run(&in, &ret->runs[i]));
        sum += ret->runs[i].data_len;
    }
    ENSURE(in.len == 0 && sum == ret->len, ERR_CORRUPT, "stream reference: lengths do not add up");
    return OK;
}

err ref_decode_len(slice in, uint64_t *ret_len) {
    uint64_t stream, count;
    return ref_open(&in, ret_len, &stream, &count);
}

err ref_find(slice in, uint64_t at, run *ret, uint64_t *ret_at) {
    uint64_t len, stream, count;
    TRY(ref_open(&in, &len, &stream, &count));
    for (uint64_t i = 0; i < count; i++) {
        run r;
        TRY(ref_run(&in, &r));
        if (at < r.data_len) {
            *ret = r;
            *ret_at = at;
            return OK;
        }
        at -= r.data_len;
    }
    return err_fail(ERR_CORRUPT, "stream reference: read past its end");
}
