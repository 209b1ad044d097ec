// A project whose tests start Azurite, as such projects do: spawn a program named azurite-blob, wait for its
// line, use the SDK, end it with a signal. Run by test_azurite.py; AZURITE_BIN is the folder of the program.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";

const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
let emulator, workspace, service;

async function start(name, flags, env = {}) {
    const child = spawn(join(process.env.AZURITE_BIN, name), flags, {
        stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env },
    });
    for await (const line of createInterface({ input: child.stdout })) {
        const found = line.match(/Azurite Blob service (?:is successfully listening at|successfully listens on) (\S+)/);
        if (found) return { child, url: found[1] };
    }
    throw new Error(`${name} ended with ${child.exitCode} before it was ready`);
}

async function stop({ child }, signal) {
    child.kill(signal);
    const [code] = await once(child, "exit");
    return code;
}

before(async () => {
    workspace = await mkdtemp(join(tmpdir(), "azurite-"));
    emulator = await start("azurite-blob", ["--silent", "--location", workspace, "--debug", join(workspace, "debug.log"),
        "--blobPort", "0", "--loose", "--skipApiVersionCheck", "--disableTelemetry"]);
    service = new BlobServiceClient(`${emulator.url}/devstoreaccount1`,
        new StorageSharedKeyCredential("devstoreaccount1", KEY), { retryOptions: { maxTries: 1 } });
});
after(async () => {
    assert.equal(await stop(emulator, "SIGTERM"), 0);
    await rm(workspace, { recursive: true, force: true });
});

test("a blob goes in and comes out", async () => {
    const container = service.getContainerClient("project");
    assert.equal((await container.createIfNotExists()).succeeded, true);
    const blob = container.getBlockBlobClient("folder/file.txt");
    await blob.upload("hello", 5, { metadata: { from: "ci" }, blobHTTPHeaders: { blobContentType: "text/plain" } });
    assert.equal((await blob.downloadToBuffer()).toString(), "hello");
    assert.deepEqual((await blob.getProperties()).metadata, { from: "ci" });
    const names = [];
    for await (const item of container.listBlobsFlat()) names.push(item.name);
    assert.deepEqual(names, ["folder/file.txt"]);
    await container.delete();
});

test("accounts of the variable", async () => {
    const key = Buffer.from("my own key").toString("base64");
    const own = await start("azurite", ["-s", "--blobPort", "0", "--inMemoryPersistence"], { AZURITE_ACCOUNTS: `mine:${key}` });
    try {
        const mine = new BlobServiceClient(`${own.url}/mine`, new StorageSharedKeyCredential("mine", key),
            { retryOptions: { maxTries: 1 } });
        await mine.getContainerClient("my-container").create();
        assert.equal(await mine.getContainerClient("my-container").exists(), true);
    } finally {
        assert.equal(await stop(own, "SIGINT"), 0);
    }
});
