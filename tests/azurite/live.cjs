// Loaded before Azurite's tests. In their live mode half of the files take the server's address from the
// connection string; the others name the stand-in "live.azure:443", which leads to the same server from here on.
"use strict";
const http = require("node:http");

const target = new URL(process.env.STRONGROOM_AZURITE_TARGET);
const original = http.Agent.prototype.createConnection;
http.Agent.prototype.createConnection = function (options, done) {
    const host = options.host || options.hostname;
    const stands_in = host === "live.azure" || (typeof host === "string" && host.endsWith(".live.azure"));
    const to = stands_in ? { ...options, host: target.hostname, port: Number(target.port) } : options;
    return original.call(this, to, done);
};
