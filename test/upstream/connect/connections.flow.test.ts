import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AnswerBody, type Answer } from '../../../src/upstream/connect/answer.ts';
import { IDLE_TIMEOUT_MS, transportTo } from '../../support/transport-to.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

/** Longer than what goes through Node's parser. */
const BODY = randomBytes(1_000_000);
const HEAD = `HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n`;

/** A server that answers each request by `answer`, and a transport to it. */
function setUp(answer: (socket: Socket, count: number) => void) {
  let requests = 0;
  return transportTo((socket) => answer(socket, ++requests));
}

async function read({ body }: Answer): Promise<{ bytes: Buffer; error: unknown }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of body) chunks.push(Buffer.from(chunk));
    return { bytes: Buffer.concat(chunks), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
}

/** The body of a server that never sends anything. */
async function silent(): Promise<void> {
  const nothing = () => undefined;
  const body = new AnswerBody({ pause: nothing, resume: nothing, abort: nothing }, IDLE_TIMEOUT_MS);
  for await (const chunk of body) expect(chunk).toBeUndefined();
}

describe('a long body', () => {
  test('comes as it was sent, however it was cut into packets', async () => {
    let cuts: readonly number[] = [];
    const { send } = await setUp((socket) => {
      const all = Buffer.concat([Buffer.from(HEAD), BODY]);
      let at = 0;
      for (const cut of cuts) {
        socket.write(all.subarray(at, at + cut));
        at += cut;
      }
      socket.write(all.subarray(at));
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 8 }), async (some) => {
        cuts = some;
        const { bytes, error } = await read(await send());
        expect(error).toBeUndefined();
        expect(bytes.equals(BODY)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('leaves a connection for the next request, and a short one after it too', async () => {
    const { send, sockets } = await setUp((socket, count) => {
      socket.write(count % 2 === 1 ? HEAD : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      if (count % 2 === 1) socket.write(BODY);
    });
    for (let count = 0; count < 3; count++) {
      expect((await read(await send())).bytes.equals(BODY)).toBe(true);
      expect((await read(await send())).bytes.toString()).toBe('ok');
    }
    expect(sockets.size).toBe(1);
  });

  test.each([
    ['bytes follow it that nobody asked for', HEAD, Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
    [
      'the server says that it will close',
      HEAD.replace('\r\n', '\r\nConnection: close\r\n'),
      Buffer.alloc(0),
    ],
    [
      'the server keeps it for a second only',
      HEAD.replace('\r\n', '\r\nKeep-Alive: timeout=1\r\n'),
      Buffer.alloc(0),
    ],
  ])('leaves none if %s', async (_name, head, extra) => {
    const { send, sockets } = await setUp((socket) => {
      socket.write(Buffer.concat([Buffer.from(head), BODY, extra]));
    });
    expect((await read(await send())).bytes.equals(BODY)).toBe(true);
    await eventually(() => sockets.size === 0, 'the connection to end');
    expect((await read(await send())).bytes.equals(BODY)).toBe(true);
  });

  test.each([
    ['ends early', true, 'ECONNRESET'],
    ['falls silent', false, 'ERR_BODY_STALLED'],
  ])('that %s gives all bytes up to there, then an error', async (_name, isEnded, code) => {
    const { send } = await setUp((socket) => {
      socket.write(HEAD);
      socket.write(BODY.subarray(0, 700_000));
      if (isEnded) socket.end();
    });
    const { bytes, error } = await withDeadline(send().then(read), 'the body to end');
    expect(error).toMatchObject({ code });
    expect(bytes.equals(BODY.subarray(0, 700_000))).toBe(true);
  });

  test('that nobody reads holds its server back, and comes whole to a late reader', async () => {
    const long = Buffer.concat(Array.from({ length: 40 }, () => BODY));
    let isSent = false;
    const { send } = await setUp((socket, count) => {
      if (count > 1) return;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${long.length}\r\n\r\n`);
      socket.write(long, () => {
        isSent = true;
      });
    });
    const answer = await send();
    // This one fails when the time for which a server may be silent has passed.
    await expect(withDeadline(silent(), 'the time to pass')).rejects.toThrow('paused for too long');
    expect(isSent).toBe(false);
    const { bytes, error } = await read(answer);
    expect(error).toBeUndefined();
    expect(bytes.equals(long)).toBe(true);
  });

  test('that is closed half-way ends its connection', async () => {
    const { send, sockets } = await setUp((socket) => {
      socket.write(HEAD);
      socket.write(BODY.subarray(0, 700_000));
    });
    const answer = await send();
    let bytes = 0;
    for await (const chunk of answer.body) if ((bytes += chunk.length) > 500_000) break;
    await eventually(() => sockets.size === 0, 'the connection to end');
  });
});
