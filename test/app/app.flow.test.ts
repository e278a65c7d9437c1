import { connect } from 'node:net';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { generatedContent } from '../fake/content.ts';
import type { FakeHub } from '../fake/hub.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import { filledHub } from '../support/filled-hub.ts';
import { fetchRaw, RawExchange } from '../support/http.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { testFolder } from '../support/temp.ts';
import { eventually, withDeadline } from '../support/wait.ts';

const MIB = 1024 * 1024;
const big = generatedContent({ size: 8 * MIB + 77, seed: 21 });
const whole = big.expectedBytes(0, big.size);
const target = `/v2/library/big/blobs/${big.digest}`;

async function hubWithBig(): Promise<FakeHub> {
  const hub = await filledHub();
  hub.add({
    repository: 'library/big',
    tags: ['latest'],
    image: image({ message: 'big', layers: [opaqueLayer(big)] }),
  });
  return hub;
}

async function serve(hub: FakeHub, dataDir: string): Promise<Pierhead> {
  const server = await startPierhead({ upstreamUrl: hub.url, dataDir });
  onTestFinished(() => server.close());
  return server;
}

/** Whether a new connection to the registry address is refused. */
function isRefused(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

/** A client that has half of a blob which upstream holds back. */
async function transferUnderWay(hub: FakeHub, server: Pierhead) {
  const gate = hub.holdBlob(big.digest, 4 * MIB);
  const reader = new RawExchange({ origin: server.url, target });
  await reader.bodyReached(3 * MIB);
  return { gate, reader };
}

describe('a server that gets SIGTERM', () => {
  it('accepts nobody new, is not ready, finishes what is under way, and exits 0', async () => {
    const hub = await hubWithBig();
    const server = await serve(hub, await testFolder());
    const { gate, reader } = await transferUnderWay(hub, server);
    const stopped = server.stop();
    await eventually(() => isRefused(server.url), 'new connections to be refused');
    const ready = await fetchRaw(`${server.adminUrl}/readyz`);
    expect(ready.status).toBe(503);
    expect((await fetchRaw(`${server.adminUrl}/healthz`)).status).toBe(200);
    gate.release();
    const answer = await reader.finished();
    expect(answer.complete).toBe(true);
    expect(answer.body.equals(whole)).toBe(true);
    expect(await stopped).toBe(0);
  });

  it('does not wait for a connection that is kept alive and idle', async () => {
    const hub = await hubWithBig();
    const server = await serve(hub, await testFolder());
    const { hostname, port } = new URL(server.url);
    const idle = connect(Number(port), hostname);
    onTestFinished(() => {
      idle.destroy();
    });
    const answered = new Promise<void>((resolve) => {
      idle.once('data', () => resolve());
    });
    idle.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n');
    await withDeadline(answered, 'the answer to the ping');
    expect(await withDeadline(server.stop(), 'the end of the server')).toBe(0);
  });

  it('ends a connection that is kept alive once its transfer is over', async () => {
    const hub = await hubWithBig();
    const server = await serve(hub, await testFolder());
    const gate = hub.holdBlob(big.digest, 4 * MIB);
    const { hostname, port } = new URL(server.url);
    const kept = connect(Number(port), hostname);
    onTestFinished(() => {
      kept.destroy();
    });
    let received = 0;
    kept.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    const ended = new Promise<void>((resolve) => {
      kept.once('end', () => resolve());
    });
    kept.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await gate.reached;
    const stopped = server.stop();
    await server.waitForLog(({ msg }) => msg === 'stopping', 'the signal to be heard');
    gate.release();
    await withDeadline(ended, 'the server to end the connection');
    expect(received).toBeGreaterThan(big.size);
    expect(await withDeadline(stopped, 'the end of the server')).toBe(0);
  });

  it('twice ends at once', async () => {
    const hub = await hubWithBig();
    const server = await serve(hub, await testFolder());
    const { gate, reader } = await transferUnderWay(hub, server);
    const stopped = server.stop();
    await server.waitForLog(({ msg }) => msg === 'stopping', 'the first signal to be heard');
    process.kill(server.pid, 'SIGTERM');
    // The transfer is still held: only the second signal can end it.
    expect(await withDeadline(stopped, 'the end of the server')).not.toBe(0);
    expect((await reader.finished()).complete).toBe(false);
    gate.release();
  });
});

describe('a server that is killed', () => {
  it('in the middle of a blob serves nothing wrong afterwards, and keeps what it had', async () => {
    const hub = await hubWithBig();
    const dataDir = await testFolder();
    const first = await serve(hub, dataDir);
    const manifest = await fetchRaw(`${first.url}/v2/library/plain/manifests/latest`);
    const { gate, reader } = await transferUnderWay(hub, first);
    await first.kill();
    expect((await reader.finished()).complete).toBe(false);
    gate.release();
    const second = await serve(hub, dataDir);
    const again = await fetchRaw(`${second.url}${target}`);
    expect(again.complete).toBe(true);
    expect(again.body.equals(whole)).toBe(true);
    await eventually(
      async () => (await readdir(join(dataDir, 'parts'))).length === 0,
      'the part to be a blob',
    );
    await hub.stop();
    const kept = await fetchRaw(`${second.url}/v2/library/plain/manifests/latest`);
    expect(kept.body.equals(manifest.body)).toBe(true);
  });

  it('leaves its data directory free for the next one', async () => {
    const hub = await hubWithBig();
    const dataDir = await testFolder();
    const first = await serve(hub, dataDir);
    await expect(startPierhead({ upstreamUrl: hub.url, dataDir })).rejects.toThrow(
      'in use by another pierhead',
    );
    await first.kill();
    expect((await fetchRaw(`${(await serve(hub, dataDir)).url}/healthz`)).status).toBe(200);
  });
});
