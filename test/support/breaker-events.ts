import type { Down, Event } from '../../src/upstream/health/breaker-rules.ts';

type Cause = Down['cause'];

export function failed(cause: Cause, resource: string, at = 0): Event {
  return { type: 'failed', at, date: at, down: down(cause), resource };
}

export function probeFailed(cause: Cause, date = 0): Event {
  return { type: 'probe-failed', date, down: down(cause) };
}

function down(cause: Cause): Down {
  return { kind: 'unavailable', cause, reason: cause };
}
