// Signs requests and tokens with @azure/storage-blob; prints them as JSON lines for auth_vectors.py.
// Run with NODE_PATH pointing at a node_modules that holds the package.
const blob = require("@azure/storage-blob");

const [account, key, date] = process.argv.slice(2);
Date.prototype.toUTCString = () => date;
const credential = new blob.StorageSharedKeyCredential(account, key);
const out = (v) => console.log(JSON.stringify(v));

// A transport that keeps what would have been sent.
let sent = null;
const httpClient = {
  sendRequest: async (request) => {
    sent = request;
    throw new Error("captured");
  },
};
async function capture(name, base, call) {
  const pipeline = blob.newPipeline(credential, { httpClient, retryOptions: { maxTries: 1 } });
  await call(new blob.BlobServiceClient(base, pipeline)).catch(() => {});
  const headers = [];
  for (const { name: n, value: v } of sent.headers.headersArray()) headers.push([n, v]);
  out({ name: "js " + name, method: sent.method, url: sent.url, headers, kind: "SHARED_KEY" });
}

const starts = new Date("2024-01-02T03:04:05Z");
const expires = new Date("2099-12-31T23:59:59Z");
function token(name, target, kind, values, account_sas) {
  const q = account_sas
    ? blob.generateAccountSASQueryParameters(values, credential)
    : blob.generateBlobSASQueryParameters(values, credential);
  const url = target + (target.includes("?") ? "&" : "?") + q.toString();
  out({ name: "js " + name, method: "GET", url, headers: [], kind });
}

(async () => {
  for (const base of [`http://127.0.0.1:10000/${account}`, `https://${account}.blob.example.org`,
    `http://127.0.0.1:10000/${account}-secondary`]) {
    const w = base.startsWith("https") ? " host" : base.endsWith("secondary") ? " secondary" : "";
    await capture("get service properties" + w, base, (s) => s.getProperties());
    await capture("list containers" + w, base, (s) => s.listContainers({ prefix: "Ä b+c", includeMetadata: true })
      .byPage({ maxPageSize: 7 }).next());
    await capture("list blobs" + w, base, (s) => s.getContainerClient("records").listBlobsByHierarchy("/", {
      prefix: "a/ü%2F+ &", includeMetadata: true, includeUncommitedBlobs: true }).byPage({ maxPageSize: 5 }).next());
    await capture("download range" + w, base, (s) => s.getContainerClient("records")
      .getBlobClient("dir/ä ö+%25#?.bin").download(5, 10, { conditions: { ifMatch: '"0x1"', ifNoneMatch: "*",
        ifModifiedSince: starts, ifUnmodifiedSince: starts } }));
  }
  const base = `http://127.0.0.1:10000/${account}`;
  const c = (s) => s.getContainerClient("records");
  await capture("create container", base, (s) => c(s).create({ access: "blob", metadata: { z: "1", a_b: "2", ab: "3", A1: "4" } }));
  await capture("set metadata order", base, (s) => c(s).getBlobClient("b").setMetadata({
    a: "1", a_: "2", _a: "3", a0: "4", "a_1": "5", aB: "6", ab_c: "7", abc: "8" }));
  await capture("put blob", base, (s) => c(s).getBlockBlobClient("b 1").upload("hello", 5, {
    blobHTTPHeaders: { blobContentType: "text/plain", blobContentLanguage: "de", blobCacheControl: "no-cache, max-age=0" },
    metadata: { note: "two  spaces and 'quotes'" }, tier: "Cool" }));
  await capture("put empty blob", base, (s) => c(s).getBlockBlobClient("e").upload("", 0));
  await capture("put block", base, (s) => c(s).getBlockBlobClient("b").stageBlock("AAAA/++=", "abc", 3));
  await capture("put block list", base, (s) => c(s).getBlockBlobClient("b").commitBlockList(["AAAA"]));
  await capture("delete", base, (s) => c(s).getBlobClient("b").delete({ deleteSnapshots: "include" }));

  const sas = { startsOn: starts, expiresOn: expires, protocol: "https,http",
    ipRange: { start: "127.0.0.1", end: "127.0.0.9" } };
  for (const version of ["2015-04-05", "2017-11-09", "2018-11-09", "2020-10-02", "2020-12-06", "2026-04-06"]) {
    const has_moment = version >= "2018-11-09";
    const blob_at = `${base}/records/dir/%C3%A4%20b%2Bc`;
    const name = "dir/ä b+c";
    const headers = { cacheControl: "no-store", contentDisposition: 'attachment; filename="x y.bin"',
      contentEncoding: "gzip", contentLanguage: "de", contentType: "text/plain; charset=utf-8" };
    token(`blob ${version}`, blob_at, "SERVICE_SAS", { ...sas, version, containerName: "records", blobName: name,
      permissions: blob.BlobSASPermissions.parse("racwd") });
    token(`blob headers ${version}`, blob_at, "SERVICE_SAS", { ...sas, ...headers, version, containerName: "records",
      blobName: name, permissions: blob.BlobSASPermissions.parse("r") });
    token(`container ${version}`, `${base}/records?restype=container&comp=list`, "SERVICE_SAS", { ...sas, version,
      containerName: "records", permissions: blob.ContainerSASPermissions.parse("racwdl") });
    token(`container over blob ${version}`, blob_at, "SERVICE_SAS", { version, containerName: "records",
      expiresOn: expires, permissions: blob.ContainerSASPermissions.parse("rl") });
    token(`policy ${version}`, blob_at, "SERVICE_SAS", { version, containerName: "records", blobName: name,
      identifier: "readers" });
    if (has_moment) {
      token(`snapshot ${version}`, `${blob_at}?snapshot=2026-01-02T03:04:05.0000001Z`, "SERVICE_SAS", { ...sas, version,
        containerName: "records", blobName: name, snapshotTime: "2026-01-02T03:04:05.0000001Z",
        permissions: blob.BlobSASPermissions.parse("r") });
    }
    if (version >= "2019-10-10") {
      token(`version ${version}`, `${blob_at}?versionid=2026-01-02T03:04:05.0000001Z`, "SERVICE_SAS", { ...sas, version,
        containerName: "records", blobName: name, versionId: "2026-01-02T03:04:05.0000001Z",
        permissions: blob.BlobSASPermissions.parse("rdxtmeiy") });
    }
    token(`account ${version}`, `${base}?comp=list`, "ACCOUNT_SAS", { ...sas, version,
      services: "bqtf", resourceTypes: "sco", permissions: blob.AccountSASPermissions.parse("rwdlacup") }, true);
    if (version >= "2020-12-06") {
      token(`account scope ${version}`, `${base}?comp=list`, "ACCOUNT_SAS", { ...sas, version, encryptionScope: "scope1",
        services: "b", resourceTypes: "s", permissions: blob.AccountSASPermissions.parse("rl") }, true);
      token(`blob scope ${version}`, blob_at, "SERVICE_SAS", { ...sas, version, containerName: "records", blobName: name,
        encryptionScope: "scope1", permissions: blob.BlobSASPermissions.parse("r") });
    }
  }
})();
