/* Private to admin/. */
#pragma once

#include "admin/admin.h"

/* Prometheus text of everything that is not an operation: engine, store, process, and what the
 * state's extra_metrics adds. */
void admin_metrics_render(const admin_state *st, buf *out);
/* One metric with its HELP and TYPE lines. */
void admin_metric(buf *out, const char *name, const char *type, const char *help, uint64_t value);
