import type { Failure } from '../upstream.ts';

/** A failure that counts as an outage. */
export type Down = Extract<Failure, { readonly kind: 'unavailable' }>;

/** Remembered in every state. */
interface Memory {
  /** A request waited for 2 s, and no response has come since. */
  readonly isSlow: boolean;
  /** Time of the last response, by `performance.now()`. */
  readonly answeredAt: number;
  /** The resource of the request that failed last. */
  readonly lastFailed: string | undefined;
  readonly isProbing: boolean;
  /** Probes since the last answered request or closing: the pauses between them grow. */
  readonly probes: number;
  readonly hasProbeFailed: boolean;
}

/** Requests go through. */
export interface Closed extends Memory {
  readonly kind: 'closed';
  /** Of requests and probes, in a row. */
  readonly failures: number;
  /** The last of them. */
  readonly down: Down | undefined;
}

/** Requests are refused; probes show when the server answers again. */
export interface Open extends Memory {
  readonly kind: 'open';
  readonly down: Down;
  /** Start of the outage; ms since the epoch. */
  readonly since: number;
  /** Probes in a row that were answered by errors. */
  readonly errorProbes: number;
}

/** One request goes through to decide; others wait for its result. */
export interface HalfOpen extends Memory {
  readonly kind: 'half-open';
  readonly down: Down;
  readonly since: number;
  /** The deciding request; undefined: the next one. Once it is late, others are refused. */
  readonly trial: { readonly request: number; readonly isLate: boolean } | undefined;
}

export type State = Closed | Open | HalfOpen;

/** `at` is by `performance.now()`, `date` in ms since the epoch; `request` is a unique number. */
export type Event =
  | { readonly type: 'sent'; readonly request: number }
  /** No response came within 2 s: to a request, or to another wait that began at `since` (by `performance.now()`). */
  | { readonly type: 'overdue'; readonly since: number; readonly request?: number }
  /** A response showed that the server works. */
  | { readonly type: 'answered'; readonly at: number }
  | FailedEvent
  /**
   * The request is over, whatever its result. If it was the trial and decided nothing, the next request is the trial.
   */
  | { readonly type: 'over'; readonly request: number }
  | { readonly type: 'probe-sent' }
  | { readonly type: 'probe-answered'; readonly at: number }
  | { readonly type: 'probe-failed'; readonly date: number; readonly down: Down };

interface FailedEvent {
  readonly type: 'failed';
  readonly at: number;
  readonly date: number;
  readonly down: Down;
  readonly resource: string;
}

/** Failed requests in a row that are an outage; fewer are enough if a probe fails too. */
const MAX_FAILURES = 3;
const MAX_CONFIRMED_FAILURES = 2;
/** After this many probes in a row that got errors, a request is tried: the ping itself may be broken. */
const MAX_ERROR_PROBES = 4;

export const NEW: Closed = {
  kind: 'closed',
  failures: 0,
  down: undefined,
  isSlow: false,
  answeredAt: -Infinity,
  lastFailed: undefined,
  isProbing: false,
  probes: 0,
  hasProbeFailed: false,
};

/**
 * The rules of the breaker. A failure starts probes. Three failures in a row open it, or one that a probe confirms.
 * An open breaker refuses requests and goes on probing, so it closes without traffic: by a probe that succeeds after
 * a failed one. If requests failed but no probe did, one request decides (half-open): the outage may have ended long
 * ago, and clients that come together must not be refused for it. Any answered request closes it.
 */
export function next(state: State, event: Event): State {
  switch (event.type) {
    case 'sent':
      if (state.kind !== 'half-open' || state.trial !== undefined) return state;
      return { ...state, trial: { request: event.request, isLate: false } };
    case 'overdue': {
      const isSlow = state.isSlow || state.answeredAt <= event.since;
      const slow: State = { ...state, isSlow, isProbing: true };
      return isTrial(slow, event.request) ? { ...slow, trial: { ...slow.trial, isLate: true } } : slow;
    }
    case 'answered':
      return { ...closed(answered(state, event.at)), lastFailed: undefined };
    case 'failed':
      return failed(state, event);
    case 'over':
      return isTrial(state, event.request) ? { ...state, trial: undefined } : state;
    case 'probe-sent':
      return { ...state, probes: state.probes + 1 };
    case 'probe-answered':
      return probeAnswered({ ...answered(state, event.at), isProbing: false });
    case 'probe-failed':
      return probeFailed({ ...state, hasProbeFailed: true }, event.down, event.date);
  }
}

function failed(state: State, { at, date, down, resource }: FailedEvent): State {
  const after: State = { ...(isNetwork(down) ? state : answered(state, at)), down };
  if (after.kind === 'open') return after;
  const failing = { ...after, lastFailed: resource, isProbing: true };
  if (failing.kind === 'half-open') return open(failing, down, failing.since);
  // A single resource that fails repeatedly is not an outage of the server.
  const isAgain = down.cause !== 'unreachable' && resource === state.lastFailed;
  const failures = failing.failures + (isAgain ? 0 : 1);
  return failures >= MAX_FAILURES ? open(failing, down, date) : { ...failing, failures };
}

function probeAnswered(state: State): State {
  if (state.kind !== 'closed') return state.hasProbeFailed ? closed(state) : halfOpen(state);
  // If only some responses are errors or timeouts, an answered probe proves nothing.
  const failures = state.down?.cause === 'unreachable' ? 0 : state.failures;
  return { ...state, failures, hasProbeFailed: false };
}

function probeFailed(state: State, down: Down, date: number): State {
  if (state.kind === 'half-open') return { ...state, down };
  if (state.kind === 'closed') {
    const failures = state.failures + 1;
    return failures >= MAX_CONFIRMED_FAILURES ? open(state, down, date) : { ...state, failures, down };
  }
  const errorProbes = isNetwork(down) ? 0 : state.errorProbes + 1;
  const after: Open = { ...state, down, errorProbes };
  return errorProbes >= MAX_ERROR_PROBES ? halfOpen(after) : after;
}

function answered(state: State, at: number): State {
  return { ...state, isSlow: false, answeredAt: at };
}

function closed(state: State): Closed {
  const memory = { ...memoryOf(state), isProbing: false, probes: 0, hasProbeFailed: false };
  return { ...memory, kind: 'closed', failures: 0, down: undefined };
}

function open(state: State, down: Down, since: number): Open {
  return { ...memoryOf(state), kind: 'open', down, since, errorProbes: 0, isProbing: true };
}

function halfOpen(state: Open | HalfOpen): HalfOpen {
  if (state.kind === 'half-open') return state;
  return { ...memoryOf(state), kind: 'half-open', down: state.down, since: state.since, trial: undefined };
}

function memoryOf(state: State): Memory {
  const { isSlow, answeredAt, lastFailed, isProbing, probes, hasProbeFailed } = state;
  return { isSlow, answeredAt, lastFailed, isProbing, probes, hasProbeFailed };
}

type Trying = HalfOpen & { readonly trial: object };

function isTrial(state: State, request: number | undefined): state is Trying {
  return state.kind === 'half-open' && state.trial !== undefined && state.trial.request === request;
}

function isNetwork(down: Down): boolean {
  return down.cause === 'unreachable' || down.cause === 'timeout';
}

/** True while other requests must wait for the trial. */
export function isDeciding(state: State): boolean {
  return state.kind === 'half-open' && state.trial?.isLate === false;
}
