/* What commands read whole: files, or standard input. */
#include <errno.h>

#include "cli/cli.h"

err cli_read_file(arena *a, const char *path, size_t max, slice *ret) {
    const bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "re");
    if (!f) return err_fail_errno(ERR_USAGE, errno, "%s", path);
    uint8_t *p = arena_alloc(a, max + 1);
    const size_t n = fread(p, 1, max + 1, f);
    const bool failed = ferror(f) != 0;
    if (!standard) (void)fclose(f);
    ENSURE(!failed, ERR_USAGE, "%s cannot be read", path);
    ENSURE(n > 0 && n <= max, ERR_USAGE, "%s has %s bytes; what is expected is 1 to %zu", path,
           n > 0 ? "more" : "no", max);
    *ret = slice_of(p, n);
    return OK;
}
