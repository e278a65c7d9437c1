import type { Socket } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { AnswerBody } from '../../../src/upstream/connect/answer.ts';
import type { Answer } from '../../../src/upstream/connect/answer.ts';
import { standStill } from '../../support/standstill.ts';
import { IDLE_TIMEOUT_MS, transportTo } from '../../support/transport-to.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

interface Asked {
  readonly socket: Socket;
  readonly head: string;
}

/** A server whose test answers each request itself, and a transport to it. */
async function setUp() {
  const asked: Asked[] = [];
  const { send, sockets } = await transportTo((socket, head) => {
    asked.push({ socket, head: head.toString('latin1') });
  });
  let answered = 0;
  return {
    sockets,
    send,
    /** The next request that comes. */
    next: () => {
      const index = answered++;
      return eventually(() => asked[index], 'a request');
    },
  };
}

async function textOf({ body }: Answer): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('an exchange', () => {
  test('ends by an exception in its own handlers, and nothing else does', async () => {
    const { send: ask, next, sockets } = await setUp();
    const push = vi.spyOn(AnswerBody.prototype, 'push').mockImplementationOnce(() => {
      throw new Error('a mistake of ours');
    });
    onTestFinished(() => push.mockRestore());
    const failing = ask().then(textOf);
    (await next()).socket.write(OK);
    await expect(withDeadline(failing, 'the transfer to end')).rejects.toThrow();
    await eventually(() => sockets.size === 0, 'its connection to end');
    const asking = ask().then(textOf);
    (await next()).socket.write(OK);
    expect(await asking).toBe('ok');
  });

  test('that answers by another protocol is no registry', async () => {
    const { send: ask, next, sockets } = await setUp();
    const asking = ask();
    (await next()).socket.write('HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nsecret');
    await expect(asking).rejects.toThrow('sent something that is not HTTP');
    await eventually(() => sockets.size === 0, 'its connection to end');
  });

  test('has the answer that follows any number of others on the way to it', async () => {
    const { send: ask, next } = await setUp();
    const asking = ask().then(textOf);
    const early = 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'.repeat(50);
    (await next()).socket.write(`HTTP/1.1 100 Continue\r\n\r\n${early}${OK}`);
    expect(await asking).toBe('ok');
  });

  test('has all lines of a header, and none of what JavaScript hangs on objects', async () => {
    const { send: ask, next } = await setUp();
    const asking = ask();
    (await next()).socket.write('HTTP/1.1 204 No\r\nA: 1\r\na: 2\r\nA: 3\r\n__proto__: x\r\n\r\n');
    const { headers } = await asking;
    expect(headers['a']).toEqual(['1', '2', '3']);
    expect(Object.keys(headers)).toEqual(['a', '__proto__']);
  });

  test('is not stalled because this process stood still', async () => {
    const { send: ask, next } = await setUp();
    const asking = ask();
    const { socket } = await next();
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
    const answer = await asking;
    standStill(2 * IDLE_TIMEOUT_MS);
    setImmediate(() => socket.write('ok'));
    expect(await textOf(answer)).toBe('ok');
  });

  test('whose headers cannot be sent fails by itself', async () => {
    const { send: ask, next } = await setUp();
    await expect(ask({ authorization: 'Bearer a\r\nHost: b' })).rejects.toThrow(/^no answer from /);
    const asking = ask().then(textOf);
    (await next()).socket.write(OK);
    expect(await asking).toBe('ok');
  });
});

test.each([
  ['with a body', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'],
  [
    'in chunks',
    'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  ],
  ['without a body', 'HTTP/1.1 204 No\r\nConnection: close\r\n\r\n'],
  ['of HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
])('an answer %s that ends its connection does so, though the server keeps it open', async (_name, text) => {
  const { send: ask, next, sockets } = await setUp();
  const asking = ask().then(textOf);
  (await next()).socket.write(text);
  expect(text.includes('ok')).toBe((await asking) === 'ok');
  await eventually(() => sockets.size === 0, 'the connection to end');
});

test.each([
  ['two answers', OK + OK],
  ['no body but a long length', 'HTTP/1.1 304 No\r\nContent-Length: 300000\r\n\r\nevil'],
])('a connection with %s at once is not used again', async (_name, text) => {
  const { send: ask, next, sockets } = await setUp();
  const asking = ask().then(textOf);
  (await next()).socket.write(text);
  expect(await asking).toBe(text.startsWith(OK) ? 'ok' : '');
  await eventually(() => sockets.size === 0, 'the connection to end');
});

test.each([
  ['lengths that differ', 'Content-Length: 300000\r\nContent-Length: 2'],
  ['a length and chunks', 'Content-Length: 300000\r\nTransfer-Encoding: chunked'],
  ['chunks and a length', 'Transfer-Encoding: chunked\r\nContent-Length: 300000'],
  ['a list of lengths', 'Content-Length: 300000, 300000'],
  ['a length beyond all numbers', 'Content-Length: 18446744073709551616'],
])('an answer with %s is none', async (_name, headers) => {
  const { send: ask, next, sockets } = await setUp();
  const asking = ask();
  (await next()).socket.write(`HTTP/1.1 200 OK\r\n${headers}\r\n\r\nok`);
  await expect(asking).rejects.toThrow('sent something that is not HTTP');
  await eventually(() => sockets.size === 0, 'the connection to end');
});

describe('an idle connection', () => {
  test('on which something comes unasked is not used again', async () => {
    const { send: ask, next, sockets } = await setUp();
    const first = ask().then(textOf);
    const { socket } = await next();
    socket.write(OK);
    expect(await first).toBe('ok');
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
    await eventually(() => sockets.size === 0, 'the connection to end');
    const second = ask().then(textOf);
    (await next()).socket.write(OK);
    expect(await second).toBe('ok');
  });

  test.each(['fin', 'rst'] as const)('may end by %s at any time', async (how) => {
    const { send: ask, next, sockets } = await setUp();
    const asking = ask().then(textOf);
    const { socket } = await next();
    socket.write(OK);
    expect(await asking).toBe('ok');
    if (how === 'fin') socket.destroySoon();
    else socket.resetAndDestroy();
    await eventually(() => sockets.size === 0, 'the connection to end');
    const again = ask().then(textOf);
    (await next()).socket.write(OK);
    expect(await again).toBe('ok');
  });

  test('is used again after an answer without a body', async () => {
    const { send: ask, next, sockets } = await setUp();
    for (const head of ['204 No Content', '304 Not Modified']) {
      const asking = ask().then(textOf);
      (await next()).socket.write(`HTTP/1.1 ${head}\r\n\r\n`);
      expect(await asking).toBe('');
    }
    expect(sockets.size).toBe(1);
  });
});
