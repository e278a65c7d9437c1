import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';

/** Resolves after so many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let turned = 0; turned < count; turned++) await turn();
}

/** For how long this thread has had a processor, in ms: other processes add nothing to it, however many there are. */
function processorMs(): number {
  const [ns = ''] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ');
  return Number(ns) / 1e6;
}

/** Runs `work` and gives the most processor time, in ms, that anything took before others had a turn. */
export async function longestTurnMs(work: () => Promise<void>): Promise<number> {
  let longest = 0;
  let last = processorMs();
  let isOver = false;
  const look = (): void => {
    const now = processorMs();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work().finally(() => (isOver = true));
  return longest;
}
