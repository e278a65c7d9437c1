/** So many pieces of bulk work are done in one turn of the event loop. */
const PIECES_PER_TURN = 8;

const waiting: (() => void)[] = [];
let isScheduled = false;

/**
 * Resolves when the next piece of bulk work may be done, first come, first served. Whoever moves large blobs from and
 * to memory, which never has to wait for anything, asks for each piece: so small requests have their turns in between.
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
    for (const go of waiting.splice(0, PIECES_PER_TURN)) go();
    if (waiting.length > 0) schedule();
  });
}
