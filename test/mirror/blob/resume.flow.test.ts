import { open, readdir, readFile, rename, symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { bytesContent } from '../../fake/content.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, rangesAsked, storedBlob } from '../../support/big-blob.ts';
import { metric } from '../../support/metrics.ts';
import { inReach } from '../../support/reach.ts';
import { eventually } from '../../support/wait.ts';

const big = bigBlob({ size: 12 * MIB + 777, seed: 21 });
const { whole, target } = big;
const SIZE = whole.length;

const received = (app: TestApp) => metric(app, 'pierhead_upstream_body_bytes_total');
const partsOf = async (app: TestApp) =>
  (await readdir(join(app.dataDir, 'parts'))).filter((name) => !name.includes('journal'));
const logged = (app: TestApp, result: string) =>
  eventually(() => app.log.find((line) => line['result'] === result), `a fill that ended ${result}`);

/** A mirror that was stopped in the middle of the blob, and the name of the part that it left. */
async function stoppedHalfWay() {
  const hub = await hubWith(big);
  const first = await startTestApp({ hub });
  await first.get('/v2/library/big/manifests/latest');
  const gate = hub.holdBlob(big.content.digest, 3 * MIB);
  const reader = first.begin(target);
  await reader.bodyReached(2 * MIB);
  reader.destroy();
  await first.stop();
  gate.release();
  const [part = ''] = await partsOf(first);
  return { hub, first, part };
}

describe('what was fetched', () => {
  it('is used again by the next attempt when upstream had given nothing any more', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    const cut = hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 5 * MIB } });
    const refusal = hub.fault({ match: { host: 'blobs' }, do: { hangUp: 'fin' } });
    // Five attempts, each with tries and pauses of its own.
    const broken = await app.get(target);
    expect(broken.complete).toBe(false);
    expect(broken.ending).toBe('fin');
    await logged(app, 'broken');
    expect(await partsOf(app)).toHaveLength(1);
    cut.remove();
    refusal.remove();
    await inReach(app);
    const whole2 = await app.get(target);
    expect(whole2.body.equals(whole)).toBe(true);
    await storedBlob(app, big);
    expect(await partsOf(app)).toEqual([]);
    expect(await received(app)).toBeLessThan(SIZE + 64 * 1024);
    expect(await metric(app, 'pierhead_fill_resumed_bytes_total')).toBeGreaterThan(4 * MIB);
  });

  it('is used again after a stop and a start, from each of its segments', async () => {
    const hub = await hubWith(big);
    const first = await startTestApp({ hub, flags: { fillSegmentGap: '1MiB' } });
    await first.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 3 * MIB);
    const reader = first.begin(target);
    await reader.bodyReached(2 * MIB);
    const far = await first.get(target, ranged(`bytes=${8 * MIB}-${9 * MIB}`));
    expect(far.status).toBe(206);
    await eventually(
      async () => (await received(first)) >= SIZE - 5 * MIB,
      'everything but the hole to be received',
    );
    reader.destroy();
    await first.stop();
    expect(await partsOf(first)).toHaveLength(1);
    gate.release();
    hub.reset();
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    expect((await second.get(target)).body.equals(whole)).toBe(true);
    expect(rangesAsked(hub, big)).toEqual([`bytes=${3 * MIB}-${8 * MIB - 1}`]);
    await storedBlob(second, big);
    expect(await metric(second, 'pierhead_fill_resumed_bytes_total')).toBe(SIZE - 5 * MIB);
  });

  it('is not gone on with where a link has taken its place', async () => {
    const { hub, first, part } = await stoppedHalfWay();
    const [path, elsewhere] = [join(first.dataDir, 'parts', part), join(first.dataDir, 'elsewhere')];
    await rename(path, elsewhere);
    await symlink(elsewhere, path);
    const before = await readFile(elsewhere);
    const app = await startTestApp({ hub, dataDir: first.dataDir });
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
    expect((await readFile(elsewhere)).equals(before)).toBe(true);
  });

  it('is thrown away after a day', async () => {
    const { hub, first, part } = await stoppedHalfWay();
    const dayAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    await utimes(join(first.dataDir, 'parts', part), dayAgo, dayAgo);
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    expect(await readdir(join(first.dataDir, 'parts'))).toEqual([]);
    expect((await second.get(target)).body.equals(whole)).toBe(true);
  });

  it('and is wrong on the disk is never served as whole, and fetched afresh', async () => {
    const { hub, first, part } = await stoppedHalfWay();
    const file = await open(join(first.dataDir, 'parts', part), 'r+');
    await file.write(Buffer.from('not what upstream sent'), 0, 22, MIB);
    await file.close();
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    const wrong = await second.get(target);
    expect(wrong.complete).toBe(false);
    expect(wrong.ending).toBe('rst');
    await logged(second, 'corrupt');
    expect(await readdir(join(first.dataDir, 'parts'))).toEqual([]);
    expect((await second.get(target)).body.equals(whole)).toBe(true);
  });
});

describe('a transfer that upstream interrupts', () => {
  it('goes on when nothing comes for the idle timeout', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { idleTimeout: '3s' } });
    const stall = hub.fault({ match: { host: 'blobs' }, times: 2, do: { stallAfterBytes: 4 * MIB } });
    const answer = await app.get(target);
    expect(answer.body.equals(whole)).toBe(true);
    expect(stall.hits).toBe(2);
    expect(await received(app)).toBeLessThan(SIZE + 64 * 1024);
  });

  it('goes on when the body ends in good order before its time', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({
      match: { host: 'blobs' },
      times: 1,
      do: { truncate: { toBytes: 4 * MIB, contentLength: 'absent' } },
    });
    const answer = await app.get(target);
    expect(answer.body.equals(whole)).toBe(true);
    expect(rangesAsked(hub, big)).toEqual([undefined, `bytes=${4 * MIB}-`]);
  });

  it('is not continued with a blob of another size, and the part stays for a better answer', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 4 * MIB } });
    const changed = hub.fault({
      match: { host: 'blobs' },
      times: 2,
      do: { ignoreRange: true, truncate: { toBytes: 6 * MIB, contentLength: 'short' } },
    });
    const answer = await app.get(target);
    expect(changed.hits).toBe(2);
    expect(answer.body.equals(whole)).toBe(true);
  });

  it('carries on with a redirect of its own each time, since signed ones expire', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, times: 3, do: { cutAfterBytes: 2 * MIB } });
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    const signatures = hub.requests.flatMap(({ host, query }) =>
      host === 'blobs' ? [query.get('expires')] : [],
    );
    expect(signatures).toHaveLength(4);
    expect(hub.count({ host: 'registry', kind: 'blob' })).toBeGreaterThanOrEqual(4);
    expect(hub.violations).toEqual([]);
  });
});

describe('a blob of sha512', () => {
  it('is verified by that, kept and served', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    const bytes = big.content.expectedBytes(0, 3 * MIB);
    const blob = { ...bytesContent(bytes), digest: digestOf(bytes, 'sha512') };
    hub.addBlob('library/big', blob);
    const url = `/v2/library/big/blobs/${blob.digest}`;
    const fault = hub.fault({ match: { host: 'blobs' }, times: 1, do: { corruptAt: MIB } });
    expect((await app.get(url)).complete).toBe(false);
    expect(fault.hits).toBe(1);
    expect((await app.get(url)).body.equals(bytes)).toBe(true);
    await eventually(
      async () => (await app.head(url)).header('cache-status') === 'pierhead; hit',
      'the blob to be stored',
    );
    expect((await app.get(url)).body.equals(bytes)).toBe(true);
  });
});

describe('a blob that comes encoded although nobody accepts that', () => {
  const text = Buffer.from('a layer that somebody on the way compressed, as some caches do. '.repeat(9000));
  const blob = bytesContent(text);
  const url = `/v2/library/big/blobs/${blob.digest}`;
  const encoded = (coding: string, body: Buffer) => ({
    match: { host: 'blobs' as const },
    do: { status: { code: 200, body, headers: { 'content-encoding': coding } } },
  });

  it.each([
    ['gzip', gzipSync(text)],
    ['br', brotliCompressSync(text)],
  ])('by %s is decoded', async (coding, body) => {
    const hub = await hubWith(big);
    hub.addBlob('library/big', blob);
    const app = await startTestApp({ hub });
    hub.fault(encoded(coding, body));
    const answer = await app.get(url);
    expect(answer.header('content-encoding')).toBeUndefined();
    expect(answer.body.equals(text)).toBe(true);
    expect(answer.complete).toBe(true);
  });

  it('and of a length that nobody tells is decoded', async () => {
    const hub = await hubWith(big);
    hub.addBlob('library/big', blob);
    const app = await startTestApp({ hub });
    const { match, do: status } = encoded('gzip', gzipSync(text));
    hub.fault({ match, do: { ...status, noContentLength: true } });
    const answer = await app.get(url);
    expect(answer.body.equals(text)).toBe(true);
    expect(answer.complete).toBe(true);
  });

  it('is taken as it is if its length shows that only the label is wrong', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({ match: { host: 'blobs' }, do: { contentEncoding: 'gzip' } });
    expect((await app.get(target)).body.equals(whole)).toBe(true);
  });

  it('by what cannot be decoded is not served', async () => {
    const hub = await hubWith(big);
    hub.addBlob('library/big', blob);
    const app = await startTestApp({ hub });
    hub.fault(encoded('zstd', text.subarray(0, 1000)));
    const answer = await app.get(url);
    expect(answer.status).toBe(404);
    expect(answer.body.toString()).toContain('zstd');
  });

  it('a thousand times over is not decoded: each coding would take memory of its own', async () => {
    const hub = await hubWith(big);
    hub.addBlob('library/big', blob);
    const app = await startTestApp({ hub });
    hub.fault(encoded(Array.from({ length: 1000 }, () => 'gzip').join(','), gzipSync(text)));
    expect((await app.get(url)).status).toBe(404);
  });

  it('into far less than it decodes to is given up where its manifest says that it ends', async () => {
    const hub = await hubWith(big);
    const bomb = gzipSync(Buffer.alloc(5 * SIZE));
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault(encoded('gzip', bomb));
    const answer = await app.get(target);
    expect(answer.complete).toBe(false);
    expect(answer.bodyBytes).toBeLessThan(SIZE);
    expect(await readdir(join(app.dataDir, 'blobs', 'sha256')).catch(() => [])).not.toContain(
      big.content.digest.slice(7, 9),
    );
  });

  it('and breaks off is had from the start again', async () => {
    const hub = await hubWith(big);
    hub.addBlob('library/big', blob);
    const app = await startTestApp({ hub });
    const body = gzipSync(text);
    hub.fault({ ...encoded('gzip', body.subarray(0, 1500)), times: 1 });
    hub.fault(encoded('gzip', body));
    const answer = await app.get(url);
    expect(answer.body.equals(text)).toBe(true);
  });
});
