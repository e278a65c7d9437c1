const LATE = Symbol('late');

/** What `promise` resolves to, or undefined if that takes longer than `ms`; `promise` itself goes on. */
export async function withinMs<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(resolve, ms, LATE);
  });
  promise.catch(() => undefined);
  try {
    const first = await Promise.race([promise, late]);
    return first === LATE ? undefined : first;
  } finally {
    clearTimeout(timer);
  }
}
