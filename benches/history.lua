-- wrk load: GET of whatever the URL says, reported as post_chat.lua does.
-- usage: wrk -t1 -c64 -d10s -s benches/history.lua http://127.0.0.1:8000/v1/guest/chat/some-guest
function done(summary, latency)
  io.write(string.format("rps %.0f p50 %.2fms p99 %.2fms p999 %.2fms non2xx %d errors %d\n",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency:percentile(99.9) / 1000, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
