// The JavaScript SDK, run by test_javascript.py, which starts the server:
// CONNECTION_STRING is where it is; with TLS the authority stands in NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import {
    AccountSASPermissions, AnonymousCredential, BlobClient, BlobSASPermissions, BlobServiceClient,
    ContainerClient, ContainerSASPermissions, RestError, SASProtocol, StorageSharedKeyCredential,
    generateAccountSASQueryParameters, generateBlobSASQueryParameters,
} from "@azure/storage-blob";

const KIB = 1024, MIB = 1024 * 1024;
const connection = process.env.CONNECTION_STRING;
const part = (name) => connection.match(new RegExp(name + "=([^;]*)"))[1];
const credential = new StorageSharedKeyCredential(part("AccountName"), part("AccountKey"));
const url = part("BlobEndpoint");
const options = { retryOptions: { maxTries: 1 } };
const service = new BlobServiceClient(url, credential, options);
const https = url.startsWith("https:");
const azurite = process.env.STRONGROOM_TEST_SERVER === "azurite";
const only = azurite ? { skip: "Azurite does otherwise" } : {};

let container;
before(async () => {
    container = service.getContainerClient("js" + randomUUID());
    await container.create();
});
after(() => container.delete());

// Bytes that do not compress, the same for the same seed.
function content(seed, length) {
    const out = Buffer.alloc(length);
    let x = (Array.from(String(seed)).reduce((h, c) => (h * 31 + c.charCodeAt(0)) | 0, 7) ^ length) | 1;
    for (let i = 0; i < length; i++) {
        x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
        out[i] = x;
    }
    return out;
}
const md5 = (data) => createHash("md5").update(data).digest();
const soon = (minutes = 60) => new Date(Date.now() + minutes * 60000);
const fresh = () => container.getBlockBlobClient("b" + randomUUID());

async function refused(call, statusCode, ...codes) {
    await assert.rejects(call, (e) => {
        assert.ok(e instanceof RestError, String(e));
        assert.equal(e.statusCode, statusCode);
        const code = e.code ?? e.details?.errorCode; // HEAD has no body
        if (codes.length) assert.ok(codes.includes(code), `${code}: ${e.message}`);
        return true;
    });
}
async function all(iterator, pick = (x) => x.name) {
    const found = [];
    for await (const x of iterator) found.push(pick(x));
    return found;
}

for (const size of [0, 1, 100, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 32 * KIB - 1, 32 * KIB, 32 * KIB + 1,
                    64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, 4 * MIB, 4 * MIB + 1]) {
    test(`put and get ${size} bytes`, async () => {
        const data = content("size", size), blob = fresh();
        const put = await blob.upload(data, size);
        assert.ok(put.etag && put.lastModified && put.requestId && put.version);
        assert.deepEqual(Buffer.from(put.contentMD5), md5(data));
        const got = await blob.downloadToBuffer();
        assert.ok(got.equals(data));
        const properties = await blob.getProperties();
        assert.equal(properties.contentLength, size);
        assert.equal(properties.blobType, "BlockBlob");
        assert.deepEqual(Buffer.from(properties.contentMD5), md5(data));
        assert.equal(properties.etag, put.etag);
    });
}

test("staged in parallel blocks", async () => {
    const data = content("big", 64 * MIB + 777), blob = fresh();
    let seen = 0;
    await blob.uploadData(data, { blockSize: 4 * MIB, concurrency: 8, maxSingleShotSize: MIB,
                                  onProgress: (p) => { seen = p.loadedBytes; } });
    assert.equal(seen, data.length);
    const got = await blob.downloadToBuffer(0, undefined, { blockSize: 3 * MIB, concurrency: 8 });
    assert.ok(got.equals(data));
    const blocks = await blob.getBlockList("all");
    assert.equal(blocks.committedBlocks.length, 17);
    assert.equal(blocks.committedBlocks.reduce((n, b) => n + b.size, 0), data.length);
});

test("upload from a stream", async () => {
    const data = content("stream", 9 * MIB + 5), blob = fresh();
    await blob.uploadStream(Readable.from([data.subarray(0, 5), data.subarray(5, 7 * MIB), data.subarray(7 * MIB)]),
                            MIB, 4);
    assert.ok((await blob.downloadToBuffer()).equals(data));
});

test("ranges", async () => {
    const data = content("range", 100 * KIB), blob = fresh();
    await blob.upload(data, data.length);
    for (const [offset, length] of [[0, 1], [1, 10], [16 * KIB - 1, 2], [16 * KIB, 16 * KIB], [50000, undefined],
                                    [data.length - 1, 1], [data.length - 1, 100]]) {
        const answer = await blob.download(offset, length);
        const got = Buffer.concat(await all(answer.readableStreamBody, (x) => x));
        assert.ok(got.equals(data.subarray(offset, length === undefined ? undefined : offset + length)));
    }
    const checked = await blob.download(10, 1000, { rangeGetContentMD5: true });
    assert.deepEqual(Buffer.from(checked.contentMD5), md5(data.subarray(10, 1010)));
    const total = (await blob.download(10, 1000)).contentRange;
    assert.equal(total, `bytes 10-1009/${data.length}`);
});

test("crc64 of a range and of a block", only, async () => {
    const data = Buffer.from("123456789"), blob = fresh();
    await blob.upload(data, data.length);
    const answer = await blob.download(0, 9, { rangeGetContentCrc64: true });
    assert.equal(Buffer.from(answer.contentCrc64).toString("hex"), "8898790a86148bae");
    const crc = Uint8Array.from(answer.contentCrc64);
    await blob.stageBlock(btoa("0001"), data, 9, { transactionalContentCrc64: crc });
    crc[0] ^= 1;
    await refused(() => blob.stageBlock(btoa("0002"), data, 9, { transactionalContentCrc64: crc }), 400,
                  "Crc64Mismatch");
});

test("range past the end", only, async () => {
    const blob = fresh();
    await blob.upload("x", 1);
    await refused(() => blob.download(1, 1), 416, "InvalidRange");
});

test("metadata and properties", async () => {
    const blob = fresh();
    const headers = { blobContentType: "text/csv", blobContentEncoding: "identity", blobContentLanguage: "de",
                      blobCacheControl: "max-age=60", blobContentDisposition: "inline",
                      blobContentMD5: Uint8Array.from(md5("x")) };
    await blob.upload("x", 1, { metadata: { Key: "Value", two: "2 = two" }, blobHTTPHeaders: headers, tier: "Cool" });
    for (let round = 0; round < 2; round++) {
        const p = await blob.getProperties();
        assert.equal(p.contentType, "text/csv");
        assert.equal(p.contentEncoding, "identity");
        assert.equal(p.contentLanguage, "de");
        assert.equal(p.cacheControl, "max-age=60");
        assert.equal(p.contentDisposition, "inline");
        assert.equal(p.accessTier, "Cool");
        assert.deepEqual(p.metadata, { key: "Value", two: "2 = two" });
        assert.deepEqual(Buffer.from(p.contentMD5), md5("x"));
        await blob.setHTTPHeaders(headers);
    }
    await blob.setMetadata({ other: "one" });
    assert.deepEqual((await blob.getProperties()).metadata, { other: "one" });
    await blob.setHTTPHeaders({});
    const p = await blob.getProperties();
    assert.equal(p.contentLanguage, undefined);
    assert.equal(p.cacheControl, undefined);
});

test("conditions", async () => {
    const blob = fresh();
    const { etag } = await blob.upload("one", 3, { conditions: { ifNoneMatch: "*" } });
    await refused(() => blob.upload("two", 3, { conditions: { ifNoneMatch: "*" } }), 409, "BlobAlreadyExists");
    await refused(() => blob.upload("two", 3, { conditions: { ifMatch: '"0x1"' } }), 412, "ConditionNotMet");
    await refused(() => blob.upload("two", 3, { conditions: { ifNoneMatch: etag } }), 412, "ConditionNotMet");
    await refused(() => blob.setMetadata({}, { conditions: { ifModifiedSince: soon() } }), 412, "ConditionNotMet");
    await refused(() => blob.delete({ conditions: { ifUnmodifiedSince: new Date(0) } }), 412, "ConditionNotMet");
    await refused(() => blob.getProperties({ conditions: { ifNoneMatch: etag } }), 304);
    await refused(() => blob.download(0, undefined, { conditions: { ifModifiedSince: soon() } }), 304);
    await refused(() => blob.getProperties({ conditions: { ifMatch: '"0x1"' } }), 412, "ConditionNotMet");
    assert.equal((await blob.downloadToBuffer()).toString(), "one");
    const second = await blob.upload("two", 3, { conditions: { ifMatch: etag } });
    assert.notEqual(second.etag, etag);
    await blob.delete({ conditions: { ifMatch: second.etag } });
    assert.equal(await blob.exists(), false);
});

test("errors", async () => {
    const absent = fresh();
    await refused(() => absent.getProperties(), 404, "BlobNotFound");
    await refused(() => absent.download(), 404, "BlobNotFound");
    await refused(() => absent.delete(), 404, "BlobNotFound");
    await refused(() => service.getContainerClient("absent").getProperties(), 404, "ContainerNotFound");
    await refused(() => service.getContainerClient("absent").getBlockBlobClient("b").upload("x", 1), 404,
                  "ContainerNotFound");
    await refused(() => container.create(), 409, "ContainerAlreadyExists");
    await refused(() => absent.commitBlockList([btoa("none")]), 400, "InvalidBlockList");
    await refused(() => service.createContainer("Not_Valid"), 400, "InvalidResourceName");
    assert.equal((await container.createIfNotExists()).succeeded, false);
    assert.equal((await absent.deleteIfExists()).succeeded, false);
});

test("wrong key", only, async () => {
    const wrong = new BlobServiceClient(url, new StorageSharedKeyCredential(part("AccountName"), btoa("wrong")), options);
    await refused(() => wrong.getProperties(), 403, "AuthenticationFailed");
});

test("wrong MD5", async () => {
    const blob = fresh();
    await refused(() => blob.stageBlock(btoa("1"), "x", 1, { transactionalContentMD5: Uint8Array.from(md5("y")) }),
                  400, "Md5Mismatch");
    assert.equal(await blob.exists(), false);
});

test("block lists", async () => {
    const blob = fresh(), id = (n) => btoa(String(n).padStart(6, "0"));
    for (let i = 0; i < 3; i++) await blob.stageBlock(id(i), content(i, 10 + i), 10 + i);
    assert.deepEqual((await blob.getBlockList("uncommitted")).uncommittedBlocks,
                     [0, 1, 2].map((i) => ({ name: id(i), size: 10 + i })));
    await blob.commitBlockList([id(2), id(0)], { metadata: { a: "b" }, blobHTTPHeaders: { blobContentType: "a/b" } });
    assert.ok((await blob.downloadToBuffer()).equals(Buffer.concat([content(2, 12), content(0, 10)])));
    const after = await blob.getBlockList("all");
    assert.deepEqual(after.committedBlocks, [2, 0].map((i) => ({ name: id(i), size: 10 + i })));
    assert.deepEqual(after.uncommittedBlocks ?? [], []);
    assert.equal((await blob.getProperties()).contentType, "a/b");
});

test("listing", async () => {
    const c = service.getContainerClient("js" + randomUUID());
    await c.create();
    const names = [];
    for (let i = 0; i < 60; i++) names.push(`d${i % 6}/f${String(i).padStart(2, "0")} ü&<`);
    await Promise.all(names.map((n) => c.getBlockBlobClient(n).upload(n, Buffer.byteLength(n), { metadata: { n: "1" } })));
    names.sort();
    assert.deepEqual(await all(c.listBlobsFlat()), names);
    const pages = await all(c.listBlobsFlat({ includeMetadata: true }).byPage({ maxPageSize: 25 }),
                            (p) => p.segment.blobItems);
    assert.deepEqual(pages.map((p) => p.length), [25, 25, 10]);
    assert.ok(pages.flat().every((b) => b.metadata.n === "1" && b.properties.etag));
    assert.deepEqual(await all(c.listBlobsFlat({ prefix: "d3/" })), names.filter((n) => n.startsWith("d3/")));
    const top = await all(c.listBlobsByHierarchy("/"), (x) => [x.kind, x.name]);
    assert.deepEqual(top, [0, 1, 2, 3, 4, 5].map((i) => ["prefix", `d${i}/`]));
    assert.equal((await all(c.listBlobsByHierarchy("/", { prefix: "d2/" }))).length, 10);
    const found = await all(service.listContainers({ prefix: c.containerName, includeMetadata: true }));
    assert.deepEqual(found, [c.containerName]);
    await c.delete();
    assert.equal(await c.exists(), false);
});

test("container metadata and access policy", async () => {
    const c = service.getContainerClient("js" + randomUUID());
    await c.create({ metadata: { a: "1" }, access: "blob" });
    let p = await c.getProperties();
    assert.deepEqual([p.metadata, p.blobPublicAccess], [{ a: "1" }, "blob"]);
    await c.setMetadata({ b: "2" });
    const expiresOn = new Date(Math.floor(soon().getTime() / 1000) * 1000), startsOn = new Date(expiresOn - 86400000);
    await c.setAccessPolicy("container", [{ id: "one", accessPolicy: { permissions: "rl", expiresOn, startsOn } }]);
    const acl = await c.getAccessPolicy();
    assert.equal(acl.blobPublicAccess, "container");
    assert.equal(acl.signedIdentifiers.length, 1);
    assert.deepEqual({ ...acl.signedIdentifiers[0].accessPolicy }, { permissions: "rl", expiresOn, startsOn });
    p = await c.getProperties();
    assert.deepEqual([p.metadata, p.blobPublicAccess], [{ b: "2" }, "container"]);
    await c.delete();
});

test("service properties", async () => {
    const before = await service.getProperties();
    assert.ok("blobAnalyticsLogging" in before && "cors" in before);
    await service.setProperties({ cors: [{ allowedOrigins: "https://example.org", allowedMethods: "GET",
                                           allowedHeaders: "*", exposedHeaders: "x-ms-*", maxAgeInSeconds: 5 }] });
    assert.equal((await service.getProperties()).cors[0].allowedOrigins, "https://example.org");
    await service.setProperties({ cors: [] });
    assert.equal((await service.getProperties()).cors?.length ?? 0, 0);
});

test("account SAS", async () => {
    const blob = fresh();
    await blob.upload("x", 1);
    const sas = generateAccountSASQueryParameters(
        { expiresOn: soon(), permissions: AccountSASPermissions.parse("rl"), services: "b", resourceTypes: "sco",
          protocol: https ? SASProtocol.Https : SASProtocol.HttpsAndHttp }, credential);
    const client = new BlobServiceClient(`${url}?${sas}`, new AnonymousCredential(), options)
        .getContainerClient(container.containerName);
    assert.equal((await client.getBlobClient(blob.name).downloadToBuffer()).toString(), "x");
    assert.ok((await all(client.listBlobsFlat())).includes(blob.name));
    await refused(() => client.getBlockBlobClient(blob.name).upload("y", 1), 403, "AuthorizationPermissionMismatch");
});

test("container SAS, blob SAS, stored policy", async () => {
    const c = service.getContainerClient("js" + randomUUID());
    await c.create();
    await c.getBlockBlobClient("dir/ü b").upload("x", 1);
    const make = (values) => generateBlobSASQueryParameters({ containerName: c.containerName, ...values }, credential);
    const open = (sas) => new ContainerClient(`${c.url}?${sas}`, undefined, options);
    const some = open(make({ permissions: ContainerSASPermissions.parse("rl"), expiresOn: soon() }));
    assert.deepEqual(await all(some.listBlobsFlat()), ["dir/ü b"]);
    assert.equal((await some.getBlobClient("dir/ü b").downloadToBuffer()).toString(), "x");
    await refused(() => some.getBlockBlobClient("new").upload("y", 1), 403, "AuthorizationPermissionMismatch");

    const one = new BlobClient(c.getBlobClient("dir/ü b").url + "?" + make({
        blobName: "dir/ü b", permissions: BlobSASPermissions.parse("r"), expiresOn: soon(), startsOn: soon(-60),
        contentType: "image/png", contentDisposition: "attachment", cacheControl: "no-cache",
        contentEncoding: "identity", contentLanguage: "fr" }), undefined, options);
    const p = await one.getProperties();
    assert.deepEqual([p.contentType, p.contentDisposition, p.cacheControl, p.contentLanguage],
                     ["image/png", "attachment", "no-cache", "fr"]);

    await c.setAccessPolicy(undefined, [{ id: "policy", accessPolicy: { permissions: "r", expiresOn: soon() } }]);
    const stored = open(make({ identifier: "policy" }));
    assert.equal((await stored.getBlobClient("dir/ü b").downloadToBuffer()).toString(), "x");
    await refused(() => all(stored.listBlobsFlat()), 403, "AuthorizationPermissionMismatch");
    await c.setAccessPolicy();
    await refused(() => stored.getBlobClient("dir/ü b").download(), 403, ...(azurite ? [] : ["AuthenticationFailed"]));
    await c.delete();
});

test("anonymous", async () => {
    const c = service.getContainerClient("js" + randomUUID());
    await c.create({ access: "container" });
    await c.getBlockBlobClient("b").upload("x", 1);
    const anyone = new ContainerClient(c.url, new AnonymousCredential(), options);
    assert.equal((await anyone.getBlobClient("b").downloadToBuffer()).toString(), "x");
    assert.deepEqual(await all(anyone.listBlobsFlat()), ["b"]);
    await assert.rejects(() => anyone.getBlockBlobClient("b").upload("y", 1));
    await c.setAccessPolicy();
    await assert.rejects(() => anyone.getBlobClient("b").download());
    await c.delete();
});

// ---- batch ----------------------------------------------------------------------------------------------------------

test("many blobs deleted in one request", only, async () => {
    const blobs = [];
    for (let i = 0; i < 8; i++) {
        const blob = container.getBlockBlobClient(`batch/${i} ü+${randomUUID()}`);
        await blob.upload("x", 1);
        blobs.push(blob);
    }
    const batch = service.getBlobBatchClient();
    const first = await batch.deleteBlobs(blobs.slice(0, 4).map((b) => b.url), credential);
    assert.deepEqual([first.subResponsesSucceededCount, first.subResponsesFailedCount], [4, 0]);
    const second = await container.getBlobBatchClient().deleteBlobs(blobs.slice(2));
    assert.deepEqual([second.subResponsesSucceededCount, second.subResponsesFailedCount], [4, 2]);
    assert.deepEqual(second.subResponses.map((r) => r.status), [404, 404, 202, 202, 202, 202]);
    assert.equal(second.subResponses[0].errorCode, "BlobNotFound");
    for (const blob of blobs) assert.equal(await blob.exists(), false);
});

// ---- copies ---------------------------------------------------------------------------------------------------------

test("blobs made from other blobs", only, async () => {
    const data = content("copied", 2 * MIB + 5), source = fresh();
    await source.upload(data, data.length, { metadata: { a: "1" }, blobHTTPHeaders: { blobContentType: "text/x" } });
    const from = await source.generateSasUrl({ permissions: BlobSASPermissions.parse("r"), expiresOn: soon() });
    const whole = fresh();
    await whole.syncUploadFromURL(from);
    assert.ok((await whole.downloadToBuffer()).equals(data));
    assert.equal((await whole.getProperties()).contentType, "text/x");
    const copied = fresh();
    const answer = await copied.syncCopyFromURL(from);
    assert.equal(answer.copyStatus, "success");
    assert.equal((await copied.getProperties()).copyId, answer.copyId);
    const blocks = fresh(), id = Buffer.from("0001").toString("base64");
    await blocks.stageBlockFromURL(id, from, 7, 100);
    await blocks.commitBlockList([id]);
    assert.ok((await blocks.downloadToBuffer()).equals(data.subarray(7, 107)));
    const poller = await fresh().beginCopyFromURL(source.url);
    assert.equal((await poller.pollUntilDone()).copyStatus, "success");
    await refused(fresh().syncCopyFromURL(container.getBlobClient("nosuch").url), 404, "CannotVerifyCopySource");
});
