import { setTimeout as sleep } from 'node:timers/promises';

/** Long, as it is to end a test that hangs and none on a machine that is busy. */
const DEFAULT_MS = 30_000;

/** `promise`, or after `ms` milliseconds an error that names what was waited for. */
export async function withDeadline<T>(promise: Promise<T>, label: string, ms = DEFAULT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${label}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The first value other than undefined and false that `probe` gives, asked every 20 ms: for states that raise no
 * event, such as the open files of a process. After `ms` milliseconds it throws an error that names `label`.
 */
export async function eventually<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  label: string,
  ms = DEFAULT_MS,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain for ${label}`);
    await sleep(20);
  }
}
