/* The one table of file, clock and random calls. The engine's file calls go through the table it was
 * opened with; the clock (base/clock.h) and random bytes (base/encode.h) of the whole program through
 * the one in use. So tests swap in full disks, torn writes, lost syncs, other clocks and chance that
 * repeats. RocksDB makes its own calls: tests/faults/ stands below both.
 *
 * Functions answer >= 0, or a negative errno. They retry EINTR themselves; a short pread means the
 * end of the file, a short pwrite does not happen: all is written or an error is returned. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct io io;
struct io {
    int (*open)(const io *, int dir, const char *name,
                int flags); /* O_CLOEXEC is added; mode 0600 */
    int (*close)(const io *, int fd);
    int64_t (*pread)(const io *, int fd, void *p, size_t n, uint64_t at);
    /* Answers -EAGAIN rather than wait for the disk; may be short. */
    int64_t (*pread_nowait)(const io *, int fd, void *p, size_t n, uint64_t at);
    int (*pwrite)(const io *, int fd, const void *p, size_t n, uint64_t at);
    int (*fdatasync)(const io *, int fd);
    int (*fsync)(const io *, int fd);                              /* files when new, and folders */
    int (*writeback)(const io *, int fd, uint64_t at, uint64_t n); /* starts it, does not wait */
    int (*fallocate)(const io *, int fd, uint64_t at, uint64_t n); /* extends the file */
    int (*punch)(const io *, int fd, uint64_t at, uint64_t n);
    int (*truncate)(const io *, int fd, uint64_t n);
    int (*rename)(const io *, int dir, const char *from, const char *to);
    int (*unlink)(const io *, int dir, const char *name);
    int (*rmdir)(const io *, int dir, const char *name);
    int (*mkdir)(const io *, int dir, const char *name); /* mode 0700 */
    int (*lock)(const io *, int fd);  /* exclusive; -EWOULDBLOCK when another holds it */
    int (*share)(const io *, int fd); /* likewise, with others who share it */
    int (*stat)(const io *, int fd, uint64_t *ret_size, uint64_t *ret_allocated);
    /* The next range [*ret_from, *ret_to) at or after `at` that may hold data. -ENXIO: none. */
    int (*next_data)(const io *, int fd, uint64_t at, uint64_t *ret_from, uint64_t *ret_to);
    /* Calls each for every name in the folder. */
    int (*list)(const io *, int dir, void (*each)(void *ctx, const char *name), void *ctx);
    /* Of the file system of fd: what is left for us, and its size. -ENOSYS: it does not say. */
    int (*free_space)(const io *, int fd, uint64_t *ret_free, uint64_t *ret_total);
    int64_t (*wall_us)(const io *); /* since 1970 */
    int64_t (*mono_us)(const io *);
    void (*random)(const io *, void *p, size_t n); /* secure; does not fail */
};

extern const io io_real;

/* Writes zeros to [from, to) of fd. 0 or a negative errno. */
int io_zero(const io *t, int fd, uint64_t from, uint64_t to);
/* Overwrites a file with zeros, synced. 0, also when there is none; or a negative errno. */
int io_wipe(const io *t, int dir, const char *name);
/* The first byte of [from, to) of fd that is not zero. Holes are stepped over where the file system knows them, the
 * rest is read. 1, 0 when there is none, or a negative errno. */
int io_first_data(const io *t, int fd, uint64_t from, uint64_t to, uint64_t *ret);

/* Whose clock and chance the program uses: io_real, until a test says otherwise (before it starts
 * threads; t stays borrowed). */
const io *io_in_use(void);
void io_use(const io *t);
