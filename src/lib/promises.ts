import { runningTime, type RunningTime, type RunningTimer } from './clock.ts';

/** Resolves as `promise` does. If `signal` is aborted first, rejects with its reason; `promise` itself goes on. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const abortion = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
  });
  promise.catch(() => undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([promise, abortion]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Resolves when `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** A value, or the promise of one that is not ready. */
export type MaybePromise<T> = T | Promise<T>;

/** Calls `use` with a value: at once if it is ready. A promise for each step would cost more than most requests. */
export function after<T, U>(value: MaybePromise<T>, use: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(use) : use(value);
}

const LATE = Symbol('late');

/** Resolves as `promise` does, or to undefined after `ms` of running time; `promise` itself goes on. */
export async function withinMs<T>(
  promise: Promise<T>,
  ms: number,
  time: RunningTime = runningTime,
): Promise<T | undefined> {
  let timer: RunningTimer | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = time.timer(ms, () => resolve(LATE));
  });
  promise.catch(() => undefined);
  try {
    const first = await Promise.race([promise, late]);
    return first === LATE ? undefined : first;
  } finally {
    timer?.stop();
  }
}

/** A promise that its owner settles. A rejection that nobody awaits is not reported. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
