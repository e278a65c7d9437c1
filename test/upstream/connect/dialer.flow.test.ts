import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { opener } from '../../../src/mirror/blob/fills.ts';
import { upstreamBytes } from '../../../src/download/source.ts';
import { generatedContent } from '../../fake/content.ts';
import type { FaultAction } from '../../fake/faults.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { startRelay } from '../../support/relay.ts';
import {
  ANYBODY,
  causeOf,
  hubAndUpstream,
  readBody,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const BLOB = generatedContent({ size: 2_000_000, seed: 11 });
const ESTABLISHED = '01';

/** Connections of this process to the servers of the stand-in, by the table of the kernel. */
async function openConnections(hub: FakeHub): Promise<number> {
  const ports = new Set([hub.url, hub.tokenUrl, hub.blobsUrl].map((url) => Number(new URL(url).port)));
  const table = await readFile('/proc/self/net/tcp', 'latin1');
  const rows = table.split('\n').map((row) => row.trim().split(/\s+/));
  return rows.filter(([, , remote = '', state]) => {
    return state === ESTABLISHED && ports.has(Number.parseInt(remote.split(':')[1] ?? '', 16));
  }).length;
}

const FAILURES: readonly (readonly [name: string, action: FaultAction])[] = [
  ['401', { status: { code: 401 } }],
  ['403', { status: { code: 403, body: 'no'.repeat(10_000) } }],
  ['404', { status: { code: 404, body: '{}' } }],
  ['404 with a long body', { status: { code: 404, body: Buffer.alloc(1_000_000) } }],
  ['404 with a body that never ends', { status: { code: 404, body: 'x'.repeat(200) }, stallAfterBytes: 100 }],
  ['429', { status: { code: 429, body: 'slow down' } }],
  ['500', { status: { code: 500, body: 'oops' } }],
  ['206', { status: { code: 206, body: Buffer.alloc(100_000) } }],
  ['a page of HTML', { html: true }],
  ['a redirect to nowhere', { status: { code: 302, body: 'moved' } }],
  ['a body that is too long', { hugeBody: 8_000_000 }],
  ['a cut', { cutAfterBytes: 10 }],
];

describe('connections', () => {
  test('are used again: for one request after the other two to each server are enough', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.addBlob(repository, BLOB);
    for (let count = 0; count < 10; count += 1) {
      valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
      valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
      valueOf(await upstream.headBlob(repository, BLOB.digest, ANYBODY));
      const stream = valueOf(await upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 }));
      expect((await readBody(stream)).error).toBeUndefined();
    }
    expect(await openConnections(hub)).toBeLessThanOrEqual(6);
    expect(new Set(hub.requests.map(({ headers }) => headers.connection))).toEqual(new Set(['keep-alive']));
  });

  test('are used again after parts of a blob, which nobody reads beyond their last byte', async () => {
    const hub = await filledHub({ redirectBlobs: false });
    hub.addBlob(repository, BLOB);
    const relay = await startRelay(new URL(hub.url).host);
    const { upstream } = watchedUpstream(`http://${relay.host}`);
    const open = opener(
      { upstream, repository: { host: 'docker.io', name: repository }, digest: BLOB.digest },
      BLOB.size,
    );
    const { signal } = new AbortController();
    for (let start = 0; start < BLOB.size; start += 100_000) {
      const limit = () => start + 100_000;
      const chunks = upstreamBytes({ digest: BLOB.digest, start, limit, open, signal, maySkip: () => false });
      let bytes = 0;
      for await (const chunk of chunks) bytes += chunk.length;
      expect(bytes).toBe(100_000);
    }
    expect(relay.connections).toBe(1);
  });

  test.each(FAILURES)('are given back or given up after %s', async (_name, action) => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.fault({ match: { host: 'registry' }, do: action });
    const kinds = new Set<string>();
    for (let count = 0; count < 5; count += 1) {
      const asks = Array.from({ length: 10 }, async () => {
        const blob = await upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 });
        if (blob.kind === 'ok') blob.value.close();
        else kinds.add(blob.kind);
        kinds.add((await upstream.getManifest(repository, LATEST, ANYBODY)).kind);
      });
      await Promise.all(asks);
    }
    expect(kinds).not.toContain('ok');
    // A hundred requests, ten at a time; one that is sent again may get another connection.
    await eventually(async () => (await openConnections(hub)) <= 22, 'connections to be given up');
    await upstream.close();
    await eventually(async () => (await openConnections(hub)) === 0, 'all connections to end');
  });

  test('are as many as it takes: bodies hold nobody else up', async () => {
    const { hub, upstream } = await hubAndUpstream({ redirectBlobs: false });
    hub.addBlob(repository, BLOB);
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.holdBlob(BLOB.digest, 1000);
    const open = Array.from({ length: 40 }, () =>
      upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 }),
    );
    const streams = (await Promise.all(open)).map(valueOf);
    const asking = upstream.headManifest(repository, LATEST, ANYBODY);
    expect((await withDeadline(asking, 'the manifest beside 40 bodies')).kind).toBe('ok');
    for (const stream of streams) stream.close();
    await eventually(async () => (await openConnections(hub)) <= 6, 'the connections of the bodies to end');
  });

  test('end when the client is closed, with all that goes on over them', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.addBlob(repository, BLOB);
    hub.holdBlob(BLOB.digest, 1000);
    const reading = readBody(
      valueOf(await upstream.getBlob(repository, BLOB.digest, { ...ANYBODY, offset: 0 })),
    );
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { hang: true } });
    const asking = upstream.getManifest(repository, LATEST, ANYBODY);
    await eventually(() => fault.hits === 1, 'the manifest to be asked for');
    await upstream.close();
    expect((await withDeadline(reading, 'the body to end')).error).toMatchObject({ code: 'cut' });
    const stopping = `unreachable: ${hub.host} is no longer asked, because this server is stopping`;
    expect(causeOf(await withDeadline(asking, 'the question to end'))).toBe(stopping);
    expect(causeOf(await upstream.headManifest(repository, LATEST, ANYBODY))).toBe(stopping);
    await eventually(async () => (await openConnections(hub)) === 0, 'all connections to end');
    await upstream.close();
  });
});
