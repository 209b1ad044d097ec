/* blob: the Azure Blob service's REST protocol. Parses, calls the store, renders XML and headers; one
 * file a resource (service, container, blob, block). No storage logic.
 *
 * blob_protocol is the whole interface: its rows are the operation table (blob/table.c).
 * What it needs from below: ops, store, base, expat (XML in). */
#pragma once

#include "ops/ops.h"

extern const ops_protocol blob_protocol;
