import { describe, expect, it } from 'vitest';
import { fairTurn } from '../../src/lib/turns.ts';
import { deferred, type Deferred } from '../../src/lib/promises.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { Demand } from '../../src/download/plan.ts';
import { FillProgress } from '../../src/download/progress.ts';
import { Download } from '../../src/download/download.ts';
import type { BlobPart } from '../../src/store/blobs.ts';
import { AnswerBody } from '../../src/upstream/connect/answer.ts';
import { withDeadline } from '../support/wait.ts';

const SIZE = 400;
const digest = `sha256:${'0'.repeat(64)}` as Digest;

/** A transfer at two places at most, whose upstream sends, and whose disk writes, when they are told to. */
function heldTransfer(size = SIZE) {
  const progress = new FillProgress();
  progress.size = size;
  const writes: { readonly start: number; readonly end: number; readonly done: Deferred<void> }[] = [];
  const part = {
    write: (chunks: readonly Buffer[], start: number) => {
      const done = deferred<void>();
      writes.push({ start, end: start + Buffer.concat(chunks).length, done });
      return done.promise;
    },
  } as unknown as BlobPart;
  const bodies = new Map<number, AnswerBody>();
  let isAskedFor = deferred<void>();
  const demands: Demand[] = [];
  let asked = 0;
  const transfer = new Download({
    digest,
    part,
    progress,
    open: (offset) => {
      const body = new AnswerBody({
        pause: () => undefined,
        resume: () => undefined,
        abort: () => undefined,
      });
      bodies.set(offset, body);
      isAskedFor.resolve();
      isAskedFor = deferred();
      const stream = { totalSize: size, offset, body, isDecoded: false, close: () => body.close() };
      return Promise.resolve({ kind: 'ok', value: stream });
    },
    limits: {
      minGapBytes: 10,
      get maxStreams() {
        // What goes on for ever without a turn of the event loop could be ended by no deadline.
        if (++asked > 1000) throw new Error('segments are launched without end');
        return 2;
      },
    },
    demands: () => demands,
    onWritten: (extent) => progress.wrote(extent),
  });
  const bodyAt = async (start: number): Promise<AnswerBody> => {
    while (!bodies.has(start)) await withDeadline(isAskedFor.promise, `a request from ${start} on`);
    return bodies.get(start) as AnswerBody;
  };
  const send = async (from: number, start: number, end: number): Promise<void> => {
    (await bodyAt(from)).push(Buffer.alloc(end - start));
  };
  const writeAt = async (start: number) => {
    for (;;) {
      const write = writes.find((one) => one.start === start);
      if (write !== undefined) return write;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const write = async (start: number): Promise<void> => (await writeAt(start)).done.resolve();
  const read = (position: number): void => {
    const demand = { start: position, position, end: size, waitsSince: 0 };
    demands.splice(0, demands.length, demand);
    transfer.want(demand);
  };
  /** As a reader does: wants its byte again whenever it is woken. */
  const wait = async (position: number): Promise<void> => {
    const demand = { start: position, position, end: size, waitsSince: 0 };
    demands.push(demand);
    while (progress.limitFrom(position, false) === position) {
      transfer.want(demand);
      await new Promise<void>((resolve) => progress.onChange(position, resolve));
    }
  };
  const leave = (): void => void demands.splice(0, demands.length);
  return { transfer, progress, bodies, writes, send, write, writeAt, read, wait, leave };
}

describe('a segment that had to end for another', () => {
  it('is left to write what it has received: where others have ended, what is behind that is asked for', async () => {
    const { transfer, progress, bodies, writes, send, write, writeAt, read, leave } = heldTransfer();
    const receiving = transfer.receive(undefined);
    read(50);
    await send(0, 0, 50);
    await write(0);
    // The first has ended where the second began; the next one begins at 100.
    read(100);
    await send(50, 50, 70);
    await writeAt(50);
    // The second ends for this one, and its disk is slow.
    read(200);
    await send(100, 100, 150);
    await write(100);
    leave();
    await send(200, 200, 220);
    await write(200);
    await send(70, 70, 100);
    await write(70);
    await send(150, 150, 200);
    await write(150);
    await send(220, 220, SIZE);
    await write(220);
    await write(50);
    await withDeadline(receiving, 'the transfer to end');
    expect(progress.written.list).toEqual([{ start: 0, end: SIZE }]);
    expect([...bodies.keys()]).toEqual([0, 50, 100, 200, 70, 150, 220]);
    expect(writes.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(SIZE);
  });

  it('has its bytes written by itself alone: who comes from before it ends at its start', async () => {
    const { transfer, progress, bodies, writes, send, write, writeAt, read, leave } = heldTransfer();
    const receiving = transfer.receive(undefined);
    read(50);
    await send(50, 50, 70);
    await writeAt(50);
    // The second ends for this one, and its disk is slow.
    read(200);
    await send(0, 0, 30);
    await send(0, 30, SIZE);
    await write(0);
    await write(30);
    leave();
    await send(200, 200, 220);
    await write(200);
    await send(70, 70, 200);
    await write(70);
    await send(220, 220, SIZE);
    await write(220);
    await write(50);
    await withDeadline(receiving, 'the transfer to end');
    expect(progress.written.list).toEqual([{ start: 0, end: SIZE }]);
    expect([...bodies.keys()]).toEqual([0, 50, 200, 70, 220]);
    expect(writes.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(SIZE);
  });
});

describe('a reader that has to wait for a connection', () => {
  it('has that of a segment which nobody reads, as soon as that has brought what its end is worth', async () => {
    const { transfer, bodies, send, write, wait } = heldTransfer();
    const receiving = transfer.receive(undefined);
    void wait(50);
    const got = wait(200);
    await send(0, 0, 9);
    await write(0);
    expect([...bodies.keys()]).toEqual([0, 50]);
    await send(0, 9, 12);
    await write(9);
    await send(200, 200, 220);
    await write(200);
    await withDeadline(got, 'the reader to be woken');
    transfer.stop();
    await withDeadline(receiving, 'the transfer to end');
  });

  it('has that of a segment which has come to its end', async () => {
    const { transfer, bodies, send, write, wait } = heldTransfer();
    const receiving = transfer.receive(undefined);
    const [first, second, third] = [wait(0), wait(50), wait(200)];
    await send(0, 0, 50);
    await write(0);
    await send(200, 200, 220);
    await write(200);
    await withDeadline(Promise.all([first, third]), 'the readers to be woken');
    expect([...bodies.keys()]).toEqual([0, 50, 200]);
    await send(50, 50, 60);
    await write(50);
    await withDeadline(second, 'the one in between to be woken');
    transfer.stop();
    await withDeadline(receiving, 'the transfer to end');
  });
});

describe('a disk that refuses a write', () => {
  it('ends the transfer at once, however long upstream has nothing more to send', async () => {
    const { transfer, bodies, send, writeAt } = heldTransfer();
    const receiving = transfer.receive(undefined);
    await send(0, 0, 50);
    (await writeAt(0)).done.reject(new Error('EIO'));
    await expect(withDeadline(receiving, 'the transfer to end')).rejects.toThrow('EIO');
    expect([...bodies.keys()]).toEqual([0]);
  });

  it('ends it for whoever wants more, although others have their turns before what is to end', async () => {
    const piece = 256 * 1024;
    const { transfer, bodies, send, writeAt, read } = heldTransfer(2 * piece);
    const receiving = transfer.receive(undefined);
    const others = Array.from({ length: 100 }, () => fairTurn());
    await send(0, 0, piece);
    (await writeAt(0)).done.reject(new Error('EIO'));
    await others[50];
    read(piece);
    await expect(withDeadline(receiving, 'the transfer to end')).rejects.toThrow('EIO');
    expect([...bodies.keys()]).toEqual([0]);
  });
});
