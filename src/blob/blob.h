/* blob: the Azure Blob service's REST protocol. Parses, calls the store, renders XML and headers;
 * one file a resource. No storage logic.
 *
 *   table.c    the operation table, and which row a request means
 *   address.c  account, container and blob of a request, path style and host style
 *   service.c  List Containers, service properties, statistics, account information
 *   container.c, list.c, blob.c (reading, properties), put.c, block.c   the operations on each
 *   source.c   where a copy reads from    copy.c, copy_sync.c, copy_state.c  copies
 *   web.c      static websites
 *   batch.c, batch_in.c  requests inside a request
 *   range.c    Range and x-ms-range            headers.c  metadata, content headers, checksums
 *   xml_in.c   documents that come in          xml_out.c  documents that go out
 *   cors.c     rules, preflight                error.c    errors, and what every answer carries
 *
 * blob_protocol is the whole interface: its rows are the operation table.
 * What it needs from below: ops, store, auth, crypto (MD5), base, expat (XML in). */
#pragma once

#include "fetch/fetch.h"
#include "ops/ops.h"

/* What an ops_server's `context` of this protocol is; NULL: none of it. */
typedef struct blob_service {
    fetch *fetch;      /* for sources of copies that are elsewhere; NULL: there are none */
    const slice *self; /* "host:port" by which this server is reached, beside what Host says */
    size_t self_count;
} blob_service;

/* How the store reads sources of pending copies that are elsewhere. */
store_remote blob_remote(fetch *f);

extern const ops_protocol blob_protocol;
/* Static websites (web.c), at ACCOUNT.website_suffix; asked before blob_protocol. */
extern const ops_protocol blob_web_protocol;
