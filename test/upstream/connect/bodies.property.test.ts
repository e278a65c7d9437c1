import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { release } from '../../../src/lib/receive-buffers.ts';
import { DialGuard } from '../../../src/upstream/connect/dial-guard.ts';
import { TimeLimit } from '../../../src/upstream/connect/time-limit.ts';
import { Transport } from '../../../src/upstream/connect/transport.ts';
import { eventually } from '../../support/wait.ts';

/** Longer than the head of any answer here. */
const HEAD_BYTES = 200;
/** How many chunks a reader holds before it releases the first. */
const HELD = 3;

/** What the server and the reader do with one body. */
interface Plan {
  readonly length: number;
  readonly how: 'keeps' | 'chunks' | 'closes' | 'adds' | 'ends' | 'resets' | 'hangs';
  /** Of the answer that is cut: how much is sent. */
  readonly part: number;
  readonly pauseMs: number;
  /** The byte at which the reader leaves. */
  readonly leavesAt: number;
  readonly limitMs: number;
}

const plans = fc.record<Plan>({
  length: fc.oneof(
    fc.integer({ min: 0, max: 3000 }),
    fc.integer({ min: 255_000, max: 270_000 }),
    fc.integer({ min: 0, max: 3_000_000 }),
  ),
  how: fc.constantFrom('keeps', 'keeps', 'keeps', 'chunks', 'closes', 'adds', 'ends', 'resets', 'hangs'),
  part: fc.integer({ min: 0, max: 99 }).map((percent) => percent / 100),
  pauseMs: fc.constantFrom(0, 0, 0, 1, 5),
  leavesAt: fc.oneof(fc.constant(Infinity), fc.constant(Infinity), fc.integer({ min: 0, max: 2_000_000 })),
  limitMs: fc.constantFrom(60_000, 60_000, 60_000, 60_000, 0, 1, 3),
});

/** Bytes that differ at each place, and from body to body. */
function bodyOf(id: number, length: number): Buffer {
  const words = Uint32Array.from(
    { length: Math.ceil(length / 4) },
    (_, at) => at * 2_654_435_761 + id * 40_503,
  );
  return Buffer.from(words.buffer, 0, length);
}

function answer(socket: Socket, { how, part }: Plan, body: Buffer): void {
  if (how === 'chunks') {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let at = 0; at < body.length; at += 40_000) {
      const chunk = body.subarray(at, at + 40_000);
      socket.write(
        Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
      );
    }
    socket.write('0\r\n\r\n');
    return;
  }
  const closing = how === 'closes' ? 'Connection: close\r\n' : '';
  const head = `HTTP/1.1 200 OK\r\n${closing}Content-Length: ${body.length}\r\n\r\n`;
  const extra = how === 'adds' ? 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx' : '';
  const all = Buffer.concat([Buffer.from(head), body, Buffer.from(extra)]);
  const isCut = how === 'ends' || how === 'resets' || how === 'hangs';
  socket.write(isCut ? all.subarray(0, Math.max(HEAD_BYTES, part * all.length)) : all);
  if (how === 'ends') socket.end();
  if (how === 'resets') setTimeout(() => socket.resetAndDestroy(), 3);
}

/** A server that answers each request by the plan of its number, and a transport to it. */
async function setUp() {
  const planned = new Map<number, Plan>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (head: Buffer) => {
      const id = Number(/GET \/(\d+)/.exec(head.toString())?.[1]);
      const plan = planned.get(id);
      // Its client has gone.
      if (plan === undefined) socket.destroy();
      else answer(socket, plan, bodyOf(id, plan.length));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const transport = new Transport(
    { connectTimeoutMs: 10_000, idleTimeoutMs: 100, userAgent: 'test' },
    new DialGuard({ registry: url, networks: [] }),
  );
  onTestFinished(async () => {
    await transport.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { planned, sockets, transport, url };
}

/** Reads a body as long as the plan says, and releases each chunk later. Undefined: it came whole. */
async function readAll(
  body: AsyncIterable<Buffer>,
  { pauseMs, leavesAt }: Plan,
  expected: Buffer,
): Promise<unknown> {
  let at = 0;
  const held: { readonly chunk: Buffer; readonly start: number }[] = [];
  const drop = (count: number): void => {
    for (const { chunk, start } of held.splice(0, count)) {
      expect(chunk.equals(expected.subarray(start, start + chunk.length))).toBe(true);
      release(chunk);
    }
  };
  try {
    for await (const chunk of body) {
      held.push({ chunk, start: at });
      at += chunk.length;
      drop(held.length - HELD);
      if (pauseMs > 0) await delay(pauseMs);
      if (at >= leavesAt) return 'left';
    }
  } catch (error) {
    return error;
  } finally {
    drop(held.length);
  }
  expect(at).toBe(expected.length);
  return undefined;
}

test('many bodies at a time come as they were sent, whatever happens to each', async () => {
  const { planned, sockets, transport, url } = await setUp();
  let count = 0;
  const pull = async (plan: Plan): Promise<void> => {
    const id = ++count;
    planned.set(id, plan);
    const limit = new TimeLimit({ ms: plan.limitMs });
    const sending = transport.send({ method: 'GET', url: new URL(`${id}`, url), headers: {}, limit });
    const sent = await sending.catch(() => undefined);
    limit.end();
    const ending = sent && (await readAll(sent.body, plan, bodyOf(id, plan.length)));
    planned.delete(id);
    const mayFail = ['ends', 'resets', 'hangs'].includes(plan.how);
    if (!mayFail && sent !== undefined) expect(ending === undefined || ending === 'left').toBe(true);
    if (!mayFail && plan.limitMs >= 60_000) expect(sent).toBeDefined();
  };
  await fc.assert(
    fc.asyncProperty(fc.array(plans, { minLength: 4, maxLength: 14 }), (some) =>
      Promise.all(some.map(pull)).then(() => undefined),
    ),
    { numRuns: 20, endOnFailure: true },
  );
  transport.endIdle(url);
  await eventually(() => sockets.size === 0, 'all connections to end');
});
