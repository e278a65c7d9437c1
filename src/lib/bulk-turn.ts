const waiting: (() => void)[] = [];
let isScheduled = false;

/**
 * Resolves when the next piece of bulk work may be done: one in each turn of the event loop, first come, first served.
 * Whoever moves large blobs from and to memory, which never has to wait for anything, asks for each piece: so small
 * requests have their turns in between.
 */
export function bulkTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    schedule();
  });
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(() => {
    isScheduled = false;
    waiting.shift()?.();
    if (waiting.length > 0) schedule();
  });
}
