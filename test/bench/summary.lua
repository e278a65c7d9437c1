-- wrk prints rounded figures for people; this adds the exact ones as a line of JSON.
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"durationUs":%d,"requests":%d,"errors":%d,"badStatuses":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.duration, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
