/* What this program itself leaves in the record: commands that are no calls (admin/call.c). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "audit/event.h"
#include "backup/backup.h"
#include "cli/cli.h"

typedef struct deed {
    store_recorder recorder;
    store *s;
    const char *action;
    err outcome;
} deed;

static void make(store_recorder *r, buf *entry, buf *private_part) {
    const deed *d = (const deed *)((uintptr_t)r - offsetof(deed, recorder));
    audit_event e;
    audit_event_begin(&e, d->s, NULL, SLICE_NONE);
    e.record.action = d->action;
    e.record.audit_class = "admin";
    e.record.decision = "operator";
    audit_event_actor(&e, "operator", "local access", SLICE_NONE);
    audit_event_outcome(&e, d->outcome);
    audit_event_write(&e, NULL, entry, private_part);
}

err cli_record(store *s, const char *action, err outcome) {
    deed d = {.recorder = {.make = make}, .s = s, .action = action, .outcome = outcome};
    return store_record(s, &d.recorder);
}

/* The file goes when the entry is durable: after a crash in between there are two entries, never none. */
err cli_record_restored(store *s, const char *data) {
    const int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return err_fail_errno(ERR_IO, errno, "data folder %s", data);
    err e = OK;
    if (faccessat(dir, BACKUP_RESTORED, F_OK, 0) == 0) {
        e = cli_record(s, "restore", OK);
        if (e == OK && (unlinkat(dir, BACKUP_RESTORED, 0) != 0 || fsync(dir) != 0))
            e = err_fail_errno(ERR_IO, errno, "%s/" BACKUP_RESTORED, data);
    }
    (void)close(dir);
    return e;
}
