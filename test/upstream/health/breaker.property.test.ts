import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDeciding, NEW, next, type Event, type State } from '../../../src/upstream/health/breaker-rules.ts';
import { failed, probeFailed } from '../../support/breaker-events.ts';
import { fuzz } from '../../support/fuzz.ts';

const STEPS = [
  'send',
  'overdue',
  'answer',
  'fail',
  'give up',
  'other overdue',
  'probe',
  'probe answered',
  'probe failed',
] as const;

interface Step {
  readonly what: (typeof STEPS)[number];
  /** Which of the requests that are on their way. */
  readonly request: number;
  readonly cause: 'unreachable' | 'timeout' | 'server-error' | 'not-a-registry';
  readonly resource: string;
  /** When a wait began, in steps. */
  readonly ago: number;
}

const step = fc.record<Step>({
  what: fc.constantFrom(...STEPS),
  request: fc.nat(5),
  cause: fc.constantFrom('unreachable', 'timeout', 'server-error', 'not-a-registry'),
  resource: fc.constantFrom('a', 'b', 'c'),
  ago: fc.nat(5),
});
/** Pings work and requests fail: chance alone seldom makes a breaker half-open. */
const failing = fc.array(step, { minLength: 3, maxLength: 3 }).map((steps) => [
  ...steps.flatMap((each, index): Step[] => [
    { ...each, what: 'send' },
    { ...each, what: 'fail', resource: 'abc'.charAt(index) },
  ]),
  { what: 'probe answered', request: 0, cause: 'timeout', resource: 'a', ago: 0 } as const,
]);
const scripts = fc
  .array(fc.oneof({ weight: 20, arbitrary: step.map((each) => [each]) }, { weight: 1, arbitrary: failing }), {
    maxLength: 80,
    size: 'max',
  })
  .map((parts) => parts.flat());

/** A breaker with the requests that went through it, as its shell keeps them. */
class Model {
  state: State = NEW;
  readonly onTheirWay: number[] = [];
  now = 0;
  #requests = 0;

  apply(event: Event): void {
    const before = this.state;
    this.state = next(before, event);
    checkState(this.state, this.onTheirWay);
    checkChange(before, event, this.state);
  }

  /** False if it had to wait, or was refused. */
  send(): boolean {
    const isLate = this.state.kind === 'half-open' && this.state.trial?.isLate === true;
    if (this.state.kind === 'open' || isDeciding(this.state) || isLate) return false;
    const request = ++this.#requests;
    this.onTheirWay.push(request);
    this.apply({ type: 'sent', request });
    return true;
  }

  /** `event` is what a request on its way comes to. */
  end(request: number, event?: Event): void {
    if (event !== undefined) this.apply(event);
    this.onTheirWay.splice(this.onTheirWay.indexOf(request), 1);
    this.apply({ type: 'over', request });
  }

  take({ what, request: place, cause, resource, ago }: Step): void {
    const at = ++this.now;
    const request = this.onTheirWay[place % Math.max(1, this.onTheirWay.length)];
    if (what === 'send') this.send();
    else if (what === 'other overdue') this.apply({ type: 'overdue', since: at - ago });
    else if (what === 'probe') this.apply({ type: 'probe-sent' });
    else if (what === 'probe answered') this.apply({ type: 'probe-answered', at });
    else if (what === 'probe failed') this.apply(probeFailed(cause, at));
    else if (request === undefined) return;
    else if (what === 'overdue') this.apply({ type: 'overdue', since: at - ago, request });
    else if (what === 'answer') this.end(request, { type: 'answered', at });
    else if (what === 'fail') this.end(request, failed(cause, resource, at));
    else this.end(request);
  }
}

function checkState(state: State, onTheirWay: readonly number[]): void {
  if (state.kind === 'closed') {
    expect(state.failures).toBeLessThan(3);
    expect(state.failures === 0 || state.down !== undefined).toBe(true);
  }
  if (state.kind === 'open') {
    // Otherwise nothing would ever close it.
    expect(state.isProbing).toBe(true);
    expect(state.errorProbes).toBeLessThan(4);
  }
  // Clients wait for it, or are refused for it.
  if (state.kind === 'half-open' && state.trial !== undefined)
    expect(onTheirWay).toContain(state.trial.request);
}

function checkChange(before: State, event: Event, after: State): void {
  if (event.type === 'answered') {
    const well = {
      kind: 'closed',
      failures: 0,
      isSlow: false,
      isProbing: false,
      probes: 0,
      hasProbeFailed: false,
    };
    expect(after).toMatchObject(well);
  }
  if (event.type === 'probe-answered') expect(after.isSlow).toBe(false);
  if (!/answered|failed/.test(event.type)) expect(after.kind).toBe(before.kind);
  if (after.kind !== 'closed' && before.kind !== 'closed') expect(after.since).toBe(before.since);
  if (/failed/.test(event.type) && before.kind !== 'closed') expect(after.kind).not.toBe('closed');
}

describe('a breaker', () => {
  it('comes into no impossible state by any sequence of events, and closes once its server answers', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(scripts, (script) => {
        const model = new Model();
        for (const each of script) {
          model.take(each);
          reached.add(isDeciding(model.state) ? 'trial' : model.state.kind);
        }
        for (let [request] = model.onTheirWay; request !== undefined; [request] = model.onTheirWay) {
          model.end(request);
        }
        if (model.state.kind === 'open') model.apply({ type: 'probe-answered', at: ++model.now });
        expect(model.send()).toBe(true);
        model.end(model.onTheirWay[0] ?? 0, { type: 'answered', at: ++model.now });
        expect(model.state.kind).toBe('closed');
      }),
      fuzz(300),
    );
    expect([...reached].sort()).toEqual(['closed', 'half-open', 'open', 'trial']);
  });
});
