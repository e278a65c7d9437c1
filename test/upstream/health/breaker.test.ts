import { describe, expect, it } from 'vitest';
import type { BreakerState } from '../../../src/events/events.ts';
import { Breaker } from '../../../src/upstream/health/breaker.ts';
import { NEW, next, type Event, type State } from '../../../src/upstream/health/breaker-rules.ts';
import { unavailable } from '../../../src/upstream/upstream.ts';
import { failed, probeFailed } from '../../support/breaker-events.ts';
import { eventually } from '../../support/wait.ts';

const SINCE = 5;
const TRIAL = 1;
const OTHER = 2;

function after(...events: readonly Event[]): State {
  return events.reduce(next, NEW);
}

const failures = (count: number): Event[] =>
  ['a', 'b', 'c'].slice(0, count).map((resource) => failed('timeout', resource));
const probed: Event = { type: 'probe-answered', at: 0 };
const halfOpenState = [...failures(3), probed];
const trial: Event = { type: 'sent', request: TRIAL };
const late: Event = { type: 'overdue', since: SINCE, request: TRIAL };

/** The columns of the table. */
const STATES: readonly State[] = [
  after(),
  after(...failures(1)),
  after(...failures(2)),
  // No request has failed, but a probe.
  after({ type: 'overdue', since: SINCE }, probeFailed('timeout')),
  // Requests failed, no probe did.
  after(...failures(3)),
  after(...failures(1), probeFailed('timeout')),
  // Three probes in a row were answered by errors.
  after(...failures(3), ...Array.from({ length: 3 }, () => probeFailed('server-error'))),
  after(...halfOpenState),
  after(...failures(3), ...Array.from({ length: 4 }, () => probeFailed('server-error'))),
  after(...halfOpenState, trial),
  after(...halfOpenState, trial, late),
];

const EVENTS: Readonly<Record<string, (state: State) => Event>> = {
  sent: () => ({ type: 'sent', request: OTHER }),
  'overdue, the trial': () => late,
  'overdue, another': () => ({ type: 'overdue', since: SINCE, request: OTHER }),
  'overdue, began before': () => ({ type: 'overdue', since: -1 }),
  answered: () => ({ type: 'answered', at: 9 }),
  'failed, unreachable': () => failed('unreachable', 'x'),
  'failed, timeout': () => failed('timeout', 'x'),
  'failed, 5xx': () => failed('server-error', 'x'),
  'same failed, unreachable': ({ lastFailed = 'x' }) => failed('unreachable', lastFailed),
  'same failed, 5xx': ({ lastFailed = 'x' }) => failed('server-error', lastFailed),
  'over, the trial': () => ({ type: 'over', request: TRIAL }),
  'over, another': () => ({ type: 'over', request: OTHER }),
  'probe sent': () => ({ type: 'probe-sent' }),
  'probe answered': () => probed,
  'probe failed, timeout': () => probeFailed('timeout'),
  'probe failed, 5xx': () => probeFailed('server-error'),
};

/**
 * The first line has the states, the others what they become. `0`: closed, with so many failures; `half`, `trial`,
 * `late`: half-open, without a trial and with one; `+`: probes are sent; `~`: slow.
 */
const TABLE = `
state                    | 0   | 1+    | 2+    | 1+~    | open+  | open+  | open+  | half   | half+  | trial   | late+~
sent                     | 0   | 1+    | 2+    | 1+~    | open+  | open+  | open+  | trial  | trial+ | trial   | late+~
overdue, the trial       | 0+~ | 1+~   | 2+~   | 1+~    | open+~ | open+~ | open+~ | half+~ | half+~ | late+~  | late+~
overdue, another         | 0+~ | 1+~   | 2+~   | 1+~    | open+~ | open+~ | open+~ | half+~ | half+~ | trial+~ | late+~
overdue, began before    | 0+~ | 1+~   | 2+~   | 1+~    | open+~ | open+~ | open+~ | half+  | half+~ | trial+  | late+~
answered                 | 0   | 0     | 0     | 0      | 0      | 0      | 0      | 0      | 0      | 0       | 0
failed, unreachable      | 1+  | 2+    | open+ | 2+~    | open+  | open+  | open+  | open+  | open+  | open+   | open+~
failed, timeout          | 1+  | 2+    | open+ | 2+~    | open+  | open+  | open+  | open+  | open+  | open+   | open+~
failed, 5xx              | 1+  | 2+    | open+ | 2+     | open+  | open+  | open+  | open+  | open+  | open+   | open+
same failed, unreachable | 1+  | 2+    | open+ | 2+~    | open+  | open+  | open+  | open+  | open+  | open+   | open+~
same failed, 5xx         | 1+  | 1+    | 2+    | 2+     | open+  | open+  | open+  | open+  | open+  | open+   | open+
over, the trial          | 0   | 1+    | 2+    | 1+~    | open+  | open+  | open+  | half   | half+  | half    | half+~
over, another            | 0   | 1+    | 2+    | 1+~    | open+  | open+  | open+  | half   | half+  | trial   | late+~
probe sent               | 0   | 1+    | 2+    | 1+~    | open+  | open+  | open+  | half   | half+  | trial   | late+~
probe answered           | 0   | 1     | 2     | 1      | half   | 0      | 0      | half   | 0      | trial   | late
probe failed, timeout    | 1   | open+ | open+ | open+~ | open+  | open+  | open+  | half   | half+  | trial   | late+~
probe failed, 5xx        | 1   | open+ | open+ | open+~ | open+  | open+  | half+  | half   | half+  | trial   | late+~
`;

function short(state: State): string {
  return `${name(state)}${state.isProbing ? '+' : ''}${state.isSlow ? '~' : ''}`;
}

function name(state: State): string {
  if (state.kind === 'closed') return String(state.failures);
  if (state.kind === 'open') return 'open';
  if (state.trial === undefined) return 'half';
  return state.trial.isLate ? 'late' : 'trial';
}

describe('the rules of a breaker', () => {
  const [states = [], ...rows] = TABLE.trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()));

  it('have a column for each state and a row for each event', () => {
    expect(states.slice(1)).toEqual(STATES.map(short));
    expect(rows.map(([event]) => event)).toEqual(Object.keys(EVENTS));
  });

  it.each(rows)('%s', (event, ...cells) => {
    expect(STATES.map((state) => short(next(state, EVENTS[event]?.(state) ?? late)))).toEqual(cells);
  });

  it('forget a failed probe when a request is answered, so that pings alone do not close it later', () => {
    const answered: Event = { type: 'answered', at: 0 };
    expect(after(late, probeFailed('timeout'), answered, ...failures(3), probed).kind).toBe('half-open');
  });
});

/** One that is half open: requests have failed, and the probe has not. */
async function halfOpen() {
  const states: BreakerState[] = [];
  const breaker = new Breaker({
    who: 'the server',
    probe: () => Promise.resolve(undefined),
    onChange: (state) => states.push(state),
    now: () => 0,
  });
  const ask = (send: () => Promise<string>, resource = 'any') =>
    breaker.run({ send, resource, hasTime: () => true });
  for (const resource of ['a', 'b', 'c']) {
    await ask(() => Promise.reject(unavailable('timeout', 'late')), resource).catch(() => undefined);
  }
  await eventually(() => states.at(-1) === 'half-open', 'the breaker to be half open');
  return { breaker, states, ask };
}

describe('a breaker that is half open', () => {
  it('closes when the one request is told that its credentials are wrong, and lets nobody wait in line', async () => {
    const { breaker, states, ask } = await halfOpen();
    let running = 0;
    let mostRunning = 0;
    const rejected = async (): Promise<string> => {
      running++;
      mostRunning = Math.max(mostRunning, running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      throw unavailable('credentials', 'wrong');
    };
    const asked = await Promise.allSettled(Array.from({ length: 10 }, () => ask(rejected)));
    expect(asked.every(({ status }) => status === 'rejected')).toBe(true);
    expect(mostRunning).toBe(9);
    expect(states).toEqual(['open', 'half-open', 'closed']);
    breaker.close();
  });

  it('lets one after the other try while those before give up, and all go when one has its answer', async () => {
    const { breaker, states, ask } = await halfOpen();
    let sent = 0;
    const gaveUp = new Error('the client has gone');
    const asked = Array.from({ length: 6 }, (_, index) =>
      ask(async () => {
        sent++;
        await new Promise((resolve) => setImmediate(resolve));
        if (index < 3) throw gaveUp;
        return 'answer';
      }),
    );
    const results = await Promise.allSettled(asked);
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
    ]);
    expect(sent).toBe(6);
    expect(states.at(-1)).toBe('closed');
    breaker.close();
  });
});
