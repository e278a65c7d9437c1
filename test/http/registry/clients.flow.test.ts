import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { generatedContent } from '../../fake/content.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const MANIFEST = '/v2/library/plain/manifests/latest';

/** A connection, all that came back on it, and its end. */
function dial(app: TestApp) {
  const { hostname, port } = new URL(app.url);
  const socket = connect({ host: hostname, port: Number(port) });
  onTestFinished(() => {
    socket.destroy();
  });
  let received = '';
  socket.on('data', (chunk) => (received += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  const closed = withDeadline(once(socket, 'close'), 'the end of the connection');
  closed.catch(() => undefined);
  return { socket, received: () => received, closed };
}

async function refused(app: TestApp, reason: string): Promise<number> {
  const { body } = await fetchRaw(`${app.adminUrl}/metrics`);
  const line = body
    .toString()
    .split('\n')
    .find((each) => each.startsWith(`pierhead_refused_connections_total{reason="${reason}"}`));
  return Number(line?.split(' ').at(-1) ?? 0);
}

describe('connections', () => {
  it('over the limit are closed at once, and there is room again when one ends', async () => {
    const app = await startTestApp({ hub: await filledHub(), flags: { maxConnections: '3' } });
    const held = [dial(app), dial(app), dial(app)];
    await Promise.all(held.map(({ socket }) => once(socket, 'connect')));
    const fourth = dial(app);
    await fourth.closed;
    expect(fourth.received()).toBe('');
    await eventually(async () => (await refused(app, 'connections')) > 0, 'the refusal to be counted');
    expect(app.log.filter(({ setting }) => setting === 'maxConnections')).toHaveLength(1);
    held[0]?.socket.destroy();
    await eventually(
      () =>
        app.get('/v2/').then(
          ({ status }) => status === 200,
          () => false,
        ),
      'room for another client',
    );
  });

  it('of one address are limited by themselves, those of a trusted proxy are not', async () => {
    const hub = await filledHub();
    const flags = { maxClientConnections: '2' };
    const app = await startTestApp({ hub, flags });
    const behind = await startTestApp({ hub, flags: { ...flags, trustedProxies: '127.0.0.1' } });
    for (const each of [app, behind]) {
      const held = [dial(each), dial(each)];
      await Promise.all(held.map(({ socket }) => once(socket, 'connect')));
    }
    await dial(app).closed;
    await eventually(
      async () => (await refused(app, 'connections-of-address')) > 0,
      'the refusal to be counted',
    );
    expect((await behind.get('/v2/')).status).toBe(200);
  });
});

describe('a client that does not get on with its request', () => {
  it.each([
    ['says nothing', ''],
    ['ends in the middle of a line', 'GET /v2/ HTTP'],
    ['never ends its headers', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n'],
  ])('is let go: one that %s', async (_what, bytes) => {
    const app = await startTestApp({ hub: await filledHub(), flags: { clientHeadersTimeout: '3s' } });
    const { socket, received, closed } = dial(app);
    socket.write(bytes);
    await closed;
    expect(received()).toMatch(/^HTTP\/1\.1 408 /);
    expect((await app.get('/v2/')).status).toBe(200);
  });

  it('is let go although it sends a little all the time', async () => {
    const app = await startTestApp({ hub: await filledHub(), flags: { clientHeadersTimeout: '3s' } });
    const slow = Array.from({ length: 20 }, () => dial(app));
    const drip = setInterval(() => slow.forEach(({ socket }) => socket.writable && socket.write('x')), 50);
    onTestFinished(() => clearInterval(drip));
    for (const { socket } of slow) socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    expect((await app.get(MANIFEST)).status).toBe(200);
    await Promise.all(slow.map(({ closed }) => closed));
    for (const { received } of slow) expect(received()).not.toContain('200 OK');
  });

  it.each([
    ['its headers did not come', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    ['it asked for a tunnel', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('is let go although it neither ends its side nor stops, told that %s', async (_what, bytes) => {
    const app = await startTestApp({ hub: await filledHub(), flags: { clientHeadersTimeout: '3s' } });
    const { hostname, port } = new URL(app.url);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.resume();
    // `events.once` would take the error of a write that comes too late for the end.
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(bytes);
    await withDeadline(once(socket, 'end'), 'the answer');
    const drip = setInterval(() => socket.write('x'), 50);
    onTestFinished(() => clearInterval(drip));
    await withDeadline(closed, 'the end of the connection');
  });

  it('is let go when it has asked and has nothing more to ask', async () => {
    const app = await startTestApp({ hub: await filledHub(), flags: { clientIdleTimeout: '1s' } });
    const { socket, received, closed } = dial(app);
    socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n');
    await closed;
    expect(received()).toContain('HTTP/1.1 200 OK');
  });

  it('is told when its headers are too long', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { socket, received, closed } = dial(app);
    socket.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`);
    await closed;
    expect(received()).toMatch(/^HTTP\/1\.1 431 /);
  });
});

describe('a client that takes nothing of its answer', () => {
  const big = generatedContent({ size: 48 * 1024 * 1024, seed: 71 });
  const target = `/v2/library/big/blobs/${big.digest}`;

  async function mirrorOfBig(): Promise<{ app: TestApp; hub: Awaited<ReturnType<typeof filledHub>> }> {
    const hub = await filledHub();
    const layers = [opaqueLayer(big)];
    hub.add({ repository: 'library/big', tags: ['latest'], image: image({ message: 'big', layers }) });
    return { hub, app: await startTestApp({ hub, flags: { clientStallTimeout: '3s' } }) };
  }

  async function openBlobs(app: TestApp): Promise<number> {
    const names = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    return names.filter((name) => name.startsWith(`${app.dataDir}/blobs/`)).length;
  }

  it('is let go, and what it held is free again', async () => {
    const { app } = await mirrorOfBig();
    expect((await app.get(target)).bodyBytes).toBe(big.size);
    const { socket } = dial(app);
    socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    await eventually(async () => (await openBlobs(app)) > 0, 'the blob to be open');
    await eventually(async () => (await openBlobs(app)) === 0, 'the blob to be closed');
    const line = await eventually(
      () => app.log.find(({ msg, aborted }) => msg === 'request' && aborted === true),
      'the line of the request',
    );
    expect(line['bytes']).toBeLessThan(big.size);
  });

  it('is another than one that waits for what upstream is slow to send', async () => {
    const { app, hub } = await mirrorOfBig();
    const gate = hub.holdBlob(big.digest, 1024 * 1024);
    const exchange = app.begin(target);
    await gate.reached;
    await exchange.bodyReached(1024 * 1024);
    // Nothing is to be awaited here but that nothing happens.
    await sleep(4000);
    gate.release();
    const answer = await exchange.finished();
    expect(answer.bodyBytes).toBe(big.size);
    expect(answer.complete).toBe(true);
  });
});

describe('the rate of requests', () => {
  const flags = { requestRate: '3/h', trustedProxies: '127.0.0.1', allowNetworks: '0.0.0.0/0,::/0' };
  const from = (app: TestApp, address: string) =>
    app.get('/v2/', { headers: [['X-Forwarded-For', address]] });

  it('is not limited as it comes', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const answers = await Promise.all(Array.from({ length: 200 }, () => app.get('/v2/')));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  });

  it('is limited by network: what is over it gets 429 and the time to wait, others are served', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags });
    for (let i = 0; i < 3; i++) expect((await from(app, '192.0.2.7')).status).toBe(200);
    const answer = await from(app, '192.0.2.7');
    expect(answer.status).toBe(429);
    expect(answer.body.toString()).toContain('"code":"TOOMANYREQUESTS"');
    expect(Number(answer.header('retry-after'))).toBeGreaterThan(0);
    expect(Number(answer.header('retry-after'))).toBeLessThanOrEqual(1200);
    expect(answer.header('cache-control')).toBe('no-store');
    expect((await from(app, '192.0.2.8')).status).toBe(200);
    const manifest = await app.get(MANIFEST, { headers: [['X-Forwarded-For', '192.0.2.7']] });
    expect(manifest.status).toBe(429);
    expect(hub.requests).toEqual([]);
    expect((await app.get('/healthz', { headers: [['X-Forwarded-For', '192.0.2.7']] })).status).toBe(200);
  });

  it('counts a /64 of IPv6 as one, and whatever prefix is set', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags });
    const wide = await startTestApp({ hub, flags: { ...flags, requestRateNetworks: '24/48' } });
    for (const host of ['::1', '::2', '::3']) await from(app, `2001:db8:0:1${host}`);
    expect((await from(app, '2001:db8:0:1:ffff::4')).status).toBe(429);
    expect((await from(app, '2001:db8:0:2::1')).status).toBe(200);
    for (const byte of [1, 2, 3]) await from(wide, `192.0.2.${byte}`);
    expect((await from(wide, '192.0.2.4')).status).toBe(429);
    expect((await from(wide, '192.0.3.4')).status).toBe(200);
  });
});
