/* Structured messages. The first three bytes say how long the content is said to be and in what
 * pieces the rest comes. What comes out is never more than was said; a message that is whole is taken apart
 * alike in one piece and in many, and its content makes a message that comes apart to the same.
 * fuzz-folders: base crypto engine store audit auth ops */
#include "fuzz.h"

#include "ops/internal.h"

static err take(slice whole, uint64_t len, size_t step, buf *out) {
    structured_in d;
    structured_in_init(&d, whole.len, len);
    for (slice rest = whole; rest.len > 0;) {
        slice piece = slice_take(rest, step), part;
        rest = slice_skip(rest, step);
        do {
            TRY(structured_in_next(&d, &piece, &part));
            buf_put(out, part);
            MUST(out->len <= len);
        } while (part.len > 0);
    }
    return structured_in_end(&d);
}

static void round_trip(arena *a, slice content, size_t step) {
    structured_out o;
    buf whole, back;
    buf_init_arena(&whole, a, SIZE_MAX / 8);
    buf_init_arena(&back, a, SIZE_MAX / 8);
    structured_out_init(&o, content.len);
    for (;;) {
        slice meta = structured_out_meta(&o, step);
        buf_put(&whole, meta);
        if (meta.len > 0) continue;
        if (o.segment_left == 0) break;
        slice part = slice_take(slice_skip(content, (size_t)o.content_done),
                                o.segment_left < step ? (size_t)o.segment_left : step);
        buf_put(&whole, part);
        structured_out_content(&o, part);
    }
    MUST(whole.len == structured_len(content.len, o.segments));
    MUST(take(buf_slice(&whole), content.len, step, &back) == OK);
    MUST(slice_eq(buf_slice(&back), content));
}

FUZZ(data) {
    if (data.len < 3) return;
    uint64_t len = data.p[0] | (uint64_t)data.p[1] << 8;
    size_t step = data.p[2] + 1u;
    slice whole = slice_skip(data, 3);
    arena *a = arena_new(4096, 64 << 20);
    buf once, pieces;
    buf_init_arena(&once, a, SIZE_MAX / 8);
    buf_init_arena(&pieces, a, SIZE_MAX / 8);
    err e = take(whole, len, SIZE_MAX, &once);
    MUST(take(whole, len, step, &pieces) == e);
    if (e == OK) MUST(once.len == len && slice_eq(buf_slice(&once), buf_slice(&pieces)));
    round_trip(a, whole, step);
    arena_free(a);
}
