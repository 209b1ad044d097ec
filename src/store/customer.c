/* Customer-provided keys: content that opens only with a key that the client sends along ("Provide
 * an encryption key on a request to Blob storage").
 *
 * A piece's own key is wrapped by a key made of both, the container's and the customer's. So such
 * content needs the client for every reading, and still ends with the container's key.
 *
 * What holds
 *  1. Of the customer's key nothing is kept but its SHA-256, which says whose key it is and opens
 *     nothing.
 *  2. All pieces of one blob are under one customer's key, or all under none: a state says which
 *     (row_blob), as does each part of a block list, each staged block and each piece of pages.
 *  3. Content under a customer's key enters no cache (reader.c). */
#include "store/internal.h"

void customer_kek(const crypto_key *container, const store_customer *customer, crypto_key *ret) {
    joined_kek(container, S("cpk"), &customer->key, ret);
}

err customer_match(slice key_sha256, slice brought) {
    if (key_sha256.len == 0 && brought.len == 0) return OK;
    ENSURE(brought.len > 0, ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION,
           "Send its key: x-ms-encryption-key, x-ms-encryption-key-sha256 and "
           "x-ms-encryption-algorithm.");
    ENSURE(key_sha256.len > 0, ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION,
           "Send the request without x-ms-encryption-key.");
    ENSURE(key_sha256.len == brought.len && crypto_same(key_sha256.p, brought.p, brought.len),
           ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH,
           "Send the key that it was written with.");
    return OK;
}

err store_customer_check(slice key_sha256, const store_customer *customer) {
    return customer_match(key_sha256, customer_sha256(customer));
}

slice customer_sha256(const store_customer *customer) {
    return customer ? slice_of(customer->sha256, sizeof customer->sha256) : SLICE_NONE;
}
