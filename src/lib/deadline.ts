import { runningTime, type RunningTime, type RunningTimer } from './running-time.ts';

const LATE = Symbol('late');

/**
 * What `promise` resolves to, or undefined if that takes longer than `ms` of the time in which this process ran;
 * `promise` itself goes on.
 */
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
