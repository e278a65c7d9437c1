import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { FillRegistry, SlotUser } from '../../../src/mirror/blob/fill.ts';
import { Fills } from '../../../src/mirror/blob/fills.ts';
import { tellNobody } from '../../support/told.ts';

/** Fills that share one slot: the first to queue has it at once. */
function oneSlot() {
  const fills = new Fills({
    blobs: {} as unknown as FillRegistry['blobs'],
    maxFills: 1,
    segmentLimits: { maxStreams: 1, minGapBytes: 1 },
    tell: tellNobody,
  });
  const entered: SlotUser[] = [];
  const queue = (isRead: boolean): { isRead: boolean; pause: () => void } => {
    const fill = { isRead, pause: () => undefined };
    void fills.enter(fill).then(() => entered.push(fill));
    return fill;
  };
  /** The fill that has the slot leaves; gives the one that has it then. */
  const next = async (): Promise<SlotUser | undefined> => {
    const last = entered.at(-1);
    if (last !== undefined) fills.leave(last);
    await turn();
    return entered.at(-1) === last ? undefined : entered.at(-1);
  };
  return { fills, queue, next };
}

describe('a fill in the queue', () => {
  it('receives before earlier ones without a reader, and after earlier ones with a reader', async () => {
    const { fills, queue, next } = oneSlot();
    queue(true);
    const [unreadA, readA, unreadB, readB] = [queue(false), queue(true), queue(false), queue(true)];
    await turn();
    expect(fills.queued).toBe(4);
    for (const each of [readA, readB, unreadA, unreadB]) expect(await next()).toBe(each);
    expect(fills.queued).toBe(0);
  });

  it('is preferred for a reader that joins while it waits, and not for one that has left', async () => {
    const { queue, next } = oneSlot();
    queue(true);
    const [a, b, c] = [queue(true), queue(false), queue(false)];
    await turn();
    a.isRead = false;
    c.isRead = true;
    for (const each of [c, a, b]) expect(await next()).toBe(each);
  });
});
