import { describe, expect, test } from 'vitest';
import { AnswerBody } from '../../../src/upstream/connect/answer.ts';

/** A body, and what it has told its connection. */
function setUp() {
  const calls: string[] = [];
  const body = new AnswerBody({
    pause: () => calls.push('pause'),
    resume: () => calls.push('resume'),
    abort: () => calls.push('abort'),
  });
  return { body, calls };
}

describe('the body of an answer', () => {
  test('gives the chunks themselves, in order, and ends', async () => {
    const { body } = setUp();
    const chunks = [Buffer.from('a'), Buffer.from('b')];
    for (const chunk of chunks) body.push(chunk);
    body.finish();
    const read: Buffer[] = [];
    for await (const chunk of body) read.push(chunk);
    expect(read).toEqual(chunks);
    expect(read[0]).toBe(chunks[0]);
  });

  test('wakes a reader who waits', async () => {
    const { body } = setUp();
    const reader = body[Symbol.asyncIterator]();
    const first = reader.next();
    body.push(Buffer.from('a'));
    expect(await first).toEqual({ done: false, value: Buffer.from('a') });
    const end = reader.next();
    body.finish();
    expect(await end).toEqual({ done: true, value: undefined });
  });

  test('holds the connection back while the reader is slow', async () => {
    const { body, calls } = setUp();
    const reader = body[Symbol.asyncIterator]();
    for (let count = 0; count < 17; count += 1) body.push(Buffer.alloc(64 * 1024));
    expect(calls).toEqual(['pause']);
    for (let count = 0; count < 8; count += 1) await reader.next();
    expect(calls).toEqual(['pause']);
    await reader.next();
    expect(calls).toEqual(['pause', 'resume']);
  });

  test('makes one chunk of what came in one turn, if it lies together', async () => {
    const { body } = setUp();
    const reader = body[Symbol.asyncIterator]();
    const first = reader.next();
    const memory = Buffer.from('abcdef');
    body.push(memory.subarray(0, 2));
    body.push(memory.subarray(2, 5));
    body.push(Buffer.from('xyz'));
    body.finish();
    expect((await first).value?.toString()).toBe('abcde');
    expect((await reader.next()).value?.toString()).toBe('xyz');
    expect((await reader.next()).done).toBe(true);
  });

  test('delivers what came before the connection broke, then the error', async () => {
    const { body } = setUp();
    body.push(Buffer.from('a'));
    body.fail(new Error('cut'));
    const reader = body[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: Buffer.from('a') });
    await expect(reader.next()).rejects.toThrow('cut');
  });

  test('gives the connection up when it is closed, once, and fails a reader who waits', async () => {
    const { body, calls } = setUp();
    const waiting = body[Symbol.asyncIterator]().next();
    body.close();
    body.close();
    await expect(waiting).rejects.toThrow('the body was closed');
    expect(calls).toEqual(['abort']);
  });

  test('gives the connection up when its reader leaves', async () => {
    const { body, calls } = setUp();
    body.push(Buffer.from('a'));
    for await (const chunk of body) {
      expect(chunk.toString()).toBe('a');
      break;
    }
    expect(calls).toEqual(['abort']);
  });

  test('leaves the connection alone when it was over before it was closed', () => {
    const { body, calls } = setUp();
    body.finish();
    body.close();
    expect(calls).toEqual([]);
  });

  test('is discarded by reading it if it is short, else by giving the connection up', async () => {
    const short = setUp();
    short.body.push(Buffer.alloc(1000));
    short.body.finish();
    await short.body.discard();
    expect(short.calls).toEqual([]);

    const long = setUp();
    long.body.push(Buffer.alloc(100_000));
    await long.body.discard();
    expect(long.calls).toEqual(['abort']);

    const slow = setUp();
    await slow.body.discard();
    expect(slow.calls).toEqual(['abort']);
  });
});
