/* Private to ops/. */
#pragma once

#include "ops/ops.h"

/* What x-ms-version answers when the request names none and the account has no default. */
#define OPS_VERSION_DEFAULT S("2026-06-06")
/* A body sent to an operation that takes none is ignored up to here, as Azure does. */
#define OPS_BODY_IGNORED_MAX (64u << 10)

/* request.c: the target's parts and the query's parameters, decoded. ERR_INVALID_URI,
 * ERR_INVALID_QUERY_PARAMETER_VALUE. */
err ops_parse_target(ops_request *r) CHECKED;
/* request.c: x-ms-version, api-version or sv. Leaves r->version empty when there is none.
 * ERR_INVALID_HEADER_VALUE. */
err ops_parse_version(ops_request *r) CHECKED;

/* metrics.c */
void ops_metrics_count(ops_metrics *m, const ops_request *r, int status, int64_t us, bool aborted);
