import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished, vi, type MockInstance } from 'vitest';
import { BufferPool, type Lease } from '../../../src/http/registry/blob.ts';
import { generatedContent } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const MIB = 1024 * 1024;
const big = generatedContent({ size: 8 * MIB + 77, seed: 22 });
const target = `/v2/library/big/blobs/${big.digest}`;
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

async function hubWithBig(): Promise<FakeHub> {
  const hub = await filledHub();
  const layers = [opaqueLayer(big)];
  hub.add({ repository: 'library/big', tags: ['latest'], image: image({ message: 'big', layers }) });
  return hub;
}

/** A connection on which a test sends what it likes, and all that came back. */
function dial(
  app: TestApp,
  bytes: string,
): { socket: Socket; received: () => Buffer; closed: Promise<void> } {
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // By reset as well, which is an error before it is an end.
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.write(bytes, 'latin1');
  return { socket, received: () => Buffer.concat(chunks), closed };
}

/** What the server says to `bytes`, until it closes the connection. */
async function said(app: TestApp, bytes: string): Promise<string> {
  const { received, closed } = dial(app, bytes);
  await withDeadline(closed, `the end of ${JSON.stringify(bytes.slice(0, 60))}`);
  return received().toString('latin1');
}

const bodyOf = (answer: Buffer): Buffer => answer.subarray(answer.indexOf('\r\n\r\n') + 4);

async function openFiles(app: TestApp): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  const names = await Promise.all(
    descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  );
  return names.filter((name) => name.startsWith(app.dataDir) && /\/(blobs|parts)\//.test(name));
}

const requestLines = (app: TestApp) => app.log.filter(({ msg }) => msg === 'request');
const blobLines = (app: TestApp) => requestLines(app).filter(({ kind }) => kind === 'blob');

describe('requests that are sent ahead on one connection', () => {
  it('are answered in their order, whatever came of those before', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    const text = await said(
      app,
      [
        get('/v2/UPPER/manifests/latest'),
        'PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
        'HEAD /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
        'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      ].join(''),
    );
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([
      'HTTP/1.1 404',
      'HTTP/1.1 405',
      'HTTP/1.1 200',
      'HTTP/1.1 200',
    ]);
    expect(text.endsWith('\r\n\r\n{}')).toBe(true);
  });

  it('leave no open file when their client goes away, and each has its line in the log', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    await app.get(target);
    for (let i = 0; i < 8; i++) {
      const { socket } = dial(app, get(target).repeat(5));
      await eventually(async () => (await openFiles(app)).length > 0, 'the answers to be under way');
      socket.destroy();
    }
    await eventually(() => requestLines(app).length === 41, 'a line for every request');
    await eventually(async () => (await openFiles(app)).length === 0, 'all files to be closed');
  });

  it('give back what they worked with when their client goes away before their turn', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    await app.get(target);
    const ends: MockInstance<Lease['end']>[] = [];
    const lend: (this: BufferPool) => Lease = Reflect.get(BufferPool.prototype, 'lend');
    const spy = vi.spyOn(BufferPool.prototype, 'lend').mockImplementation(function (this: BufferPool) {
      const lease = lend.call(this);
      ends.push(vi.spyOn(lease, 'end'));
      return lease;
    });
    onTestFinished(() => spy.mockRestore());
    const { socket } = dial(app, get(target).repeat(8));
    // Eight of them are more than the system keeps of what nobody takes.
    socket.pause();
    await eventually(() => ends.length === 8, 'the answers to be under way');
    socket.destroy();
    await eventually(() => ends.every(({ mock }) => mock.calls.length > 0), 'all transfers to be over');
  });

  it('end with the connection when one cannot be finished before its turn', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const other = generatedContent({ size: 300_000, seed: 23 });
    const layers = [opaqueLayer(other)];
    hub.add({ repository: 'library/other', tags: ['latest'], image: image({ message: 'other', layers }) });
    hub.fault({ match: { host: 'blobs', reference: other.digest }, do: { corruptAt: 5 } });
    const gate = hub.holdBlob(big.digest, 4 * MIB);
    const { received, closed } = dial(app, get(target) + get(`/v2/library/other/blobs/${other.digest}`));
    await gate.reached;
    await eventually(
      () => app.log.some(({ msg, digest }) => msg === 'fill ended' && digest === other.digest),
      'the second fill to fail',
    );
    gate.release();
    await withDeadline(closed, 'the end of the connection');
    const body = bodyOf(received()).subarray(0, big.size);
    expect(body.equals(big.expectedBytes(0, body.length))).toBe(true);
  });
});

describe('a connection', () => {
  it('that turns to nonsense in the middle of a body ends, with nothing else in the body', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const gate = hub.holdBlob(big.digest, 4 * MIB);
    const { socket, received, closed } = dial(app, get(target));
    await eventually(() => received().length > 3 * MIB, 'the first half of the body');
    socket.write('\0NONSENSE\r\n\r\n');
    await withDeadline(closed, 'the end of the connection');
    gate.release();
    const body = bodyOf(received());
    expect(body.equals(big.expectedBytes(0, body.length))).toBe(true);
  });

  const HIDDEN = 'GET /v2/hidden/manifests/latest HTTP/1.1\r\nHost: x\r\n\r\n';
  const chunked = `0\r\n\r\n${HIDDEN}`;

  it.each([
    ['two kinds of length', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    [
      'two kinds of length, the other way round',
      `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${chunked}`,
    ],
    ['two lengths', `Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
    ['a list of lengths', `Content-Length: 0, ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
    ['a signed length', `Content-Length: +${HIDDEN.length}\r\n\r\n${HIDDEN}`],
    ['a blank before the colon', `Transfer-Encoding : chunked\r\n\r\n${chunked}`],
    ['an encoding that is none', `Transfer-Encoding: xchunked\r\n\r\n${chunked}`],
    ['an encoding behind chunked', `Transfer-Encoding: chunked, identity\r\n\r\n${chunked}`],
    ['a folded line', `X: y\r\n Transfer-Encoding: chunked\r\nContent-Length : 5\r\n\r\n${chunked}`],
    ['a bare CR', `X: y\rTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['a bare LF in a chunk', `Transfer-Encoding: chunked\r\n\r\n5\nhello\n${chunked}`],
    ['a chunk of no length', `Transfer-Encoding: chunked\r\n\r\n-1\r\n${chunked}`],
    ['a body of just that', `Content-Length: ${HIDDEN.length}\r\nConnection: close\r\n\r\n${HIDDEN}`],
  ])('that hides a request behind %s gets no answer to that', async (_, rest) => {
    const app = await startTestApp({ hub: await hubWithBig() });
    const text = await said(app, `POST /v2/ HTTP/1.1\r\nHost: x\r\n${rest}`);
    // Nothing, where the answer had begun when the rest turned out to be none.
    expect(text).toMatch(/^(?:HTTP\/1\.1 4(?:(?!HTTP\/1)[^])*)?$/);
    expect(requestLines(app).filter(({ repository }) => repository !== undefined)).toEqual([]);
  });

  it('that asks for a tunnel or names two hosts is refused like any other', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    for (const [bytes, status] of [
      ['CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n', 405],
      ['GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n', 400],
      ['POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405],
      ['GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      [`GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 431],
    ] as const) {
      const text = await said(app, bytes);
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(text).toMatch(/\r\nCache-Status: pierhead; detail=local\r\n/);
      expect(text).toContain('{"errors":[{"code":"UNSUPPORTED"');
      if (status === 405) expect(text).toMatch(/\r\nAllow: GET, HEAD\r\n/);
    }
  });

  it('that asks for a tunnel in the middle of answers ends, with nothing else in them and no file left', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    await app.get(target);
    const tunnel = 'CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n';
    const { received, closed } = dial(app, get(target).repeat(3) + tunnel);
    await withDeadline(closed, 'the end of the connection');
    const body = bodyOf(received());
    expect(body.equals(big.expectedBytes(0, body.length))).toBe(true);
    await eventually(() => blobLines(app).length === 4, 'a line for every request');
    await eventually(async () => (await openFiles(app)).length === 0, 'all files to be closed');
  });

  it('that asks for a tunnel and is then reset takes nothing else with it', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    const { socket, closed } = dial(app, 'CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n');
    // Before this end is closed because the other one is.
    socket.once('data', () => socket.resetAndDestroy());
    await withDeadline(closed, 'the end of the connection');
    await app.caughtUp();
  });

  it('may use what HTTP has and few clients know', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    for (const bytes of [
      'GET /v2/ HTTP/1.0\r\n\r\n',
      'GET http://other.example/v2/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n',
      'GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: something\r\nConnection: close\r\n\r\n',
      'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n',
    ]) {
      const text = await said(app, bytes);
      expect(text, bytes).toMatch(/^HTTP\/1\.1 200 /);
      expect(text.endsWith('{}'), bytes).toBe(true);
    }
  });
});

describe('in the log and the metrics', () => {
  it('a client that left before there was an answer is no success', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { holdHeaders: true } });
    const { socket } = dial(app, get('/v2/library/plain/manifests/latest'));
    await fault.reached;
    socket.destroy();
    const line = await eventually(() => requestLines(app)[0], 'the line of the request');
    expect(line).toMatchObject({ status: 499, aborted: true, bytes: 0 });
  });

  it('nothing that a client sends can steer a terminal', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    await said(app, 'GET /v2/ HTTP/1.0\r\nUser-Agent: a\x9b31mb\r\n\r\n');
    const line = await eventually(() => requestLines(app)[0], 'the line of the request');
    expect(line).toMatchObject({ userAgent: 'a?31mb' });
  });

  it('what is no request is told of too', async () => {
    const app = await startTestApp({ hub: await hubWithBig() });
    await said(app, 'NONSENSE\r\n\r\n');
    expect(app.log.find(({ msg }) => msg === 'unreadable request')).toMatchObject({
      client: '127.0.0.1',
      status: 400,
    });
    const { body } = await fetchRaw(`${app.adminUrl}/metrics`);
    expect(body.toString()).toContain('pierhead_requests_total{kind="other",status="400",cache="local"} 1');
  });
});

describe('a fleet that begins to pull', () => {
  it('is kept waiting by the system for as many connections as that allows, and not turned away', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { port } = new URL(app.url);
    const { stdout } = await promisify(execFile)('ss', ['-Hltn', `sport = :${port}`]);
    // Of a socket that listens, Send-Q is how many may wait.
    const [, , mayWait] = stdout.trim().split(/\s+/);
    const allowed = Number(await readFile('/proc/sys/net/core/somaxconn', 'utf8'));
    expect(Number(mayWait)).toBe(Math.min(4096, allowed));
  });
});
