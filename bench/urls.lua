-- wrk: GETs of many distinct paths, one of the file named by URLS a line, in an order of each thread's own.
local requests, at, step = {}, 0, 1

function init(args)
    for line in io.lines(os.getenv("URLS")) do
        requests[#requests + 1] = wrk.format("GET", line, { ["Host"] = "127.0.0.1", ["x-ms-version"] = "2021-12-02" })
    end
    math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) % 2147483647)
    at = math.random(#requests)
    step = 7919 -- a prime: visits all, one far from the other
end

function request()
    at = (at + step) % #requests
    return requests[at + 1]
end

function done(summary, latency, calls)
    local errors = summary.errors
    print(string.format(
        '{"requests": %d, "seconds": %.4f, "bytes": %d, "per_second": %.1f, "bad": %d, "p50_us": %d, "p99_us": %d}',
        summary.requests, summary.duration / 1e6, summary.bytes, summary.requests / (summary.duration / 1e6),
        errors.status + errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
