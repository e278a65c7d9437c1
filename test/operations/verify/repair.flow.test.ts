import { rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { blobPath } from '../../../src/store/part/layout.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, storedBlob } from '../../support/big-blob.ts';
import { failOneRead } from '../../support/failing-disk.ts';
import { metric } from '../../support/metrics.ts';
import { inReach, readiness } from '../../support/reach.ts';
import { rot, shorten, storedBytes } from '../../support/stored-files.ts';
import { eventually } from '../../support/wait.ts';

const big = bigBlob({ size: 6 * MIB + 1, seed: 41 });
const { digest } = big.content;

async function filledApp() {
  const hub = await hubWith(big);
  const app = await startTestApp({ hub, flags: { scrubInterval: 'off' } });
  await app.get('/v2/library/big/manifests/latest');
  await app.get(big.target);
  await storedBlob(app, big);
  hub.reset();
  return { hub, app };
}

const faults = (app: TestApp, labels: string): Promise<number> =>
  metric(app, 'pierhead_blob_faults_total', labels);

describe('a stored blob whose file', () => {
  it.each([
    ['was cut short', 'short', shorten],
    ['was removed', 'missing', (dataDir: string) => rm(blobPath(dataDir, digest))],
  ] as const)('%s is fetched anew when it is asked for, and counted', async (_, problem, damage) => {
    const { hub, app } = await filledApp();
    await damage(app.dataDir, digest);
    const answer = await app.get(big.target);
    expect(answer.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
    expect(answer.body.equals(big.whole)).toBe(true);
    await storedBlob(app, big);
    expect(hub.bytesSent(digest)).toBe(big.content.size);
    expect(await faults(app, `problem="${problem}",found_by="request"`)).toBe(1);
    expect(app.log).toContainEqual(expect.objectContaining({ msg: 'blob lost', digest, problem }));
  });

  it('the disk cannot read is had from upstream, and stays for when it can', async () => {
    const { app } = await filledApp();
    const path = blobPath(app.dataDir, digest);
    await rename(path, `${path}.aside`);
    await symlink(path, path);
    const answer = await app.get(big.target);
    expect(answer.header('cache-status')).toBe('pierhead; fwd=bypass');
    expect(answer.body.equals(big.whole)).toBe(true);
    expect((await app.head(big.target)).status).toBe(200);
    expect(await readiness(app)).toEqual({ status: 'degraded', degraded: ['disk'] });
    expect(await metric(app, 'pierhead_degraded', 'reason="disk"')).toBe(1);
    const said = app.log.filter(({ msg }) => msg === 'blob unreadable');
    expect(said).toEqual([expect.objectContaining({ digest, reason: `opening ${path} failed: ELOOP` })]);
    await rename(`${path}.aside`, path);
    expect((await app.get(big.target)).header('cache-status')).toBe('pierhead; hit');
    expect(await readiness(app)).toEqual({ status: 'ready' });
    expect(await metric(app, 'pierhead_degraded')).toBe(0);
  });

  it('the disk stops reading midway ends short by FIN, and the next who asks gets it from upstream', async () => {
    const { app } = await filledApp();
    await failOneRead({ after: 8 });
    const short = await app.get(big.target);
    expect([short.status, short.complete, short.ending]).toEqual([200, false, 'fin']);
    expect(short.bodyBytes).toBeGreaterThan(0);
    expect(big.whole.subarray(0, short.bodyBytes).equals(short.body)).toBe(true);
    const rest = await app.get(big.target, ranged(`bytes=${short.bodyBytes}-`));
    expect(rest.header('cache-status')).toBe('pierhead; fwd=bypass');
    expect(rest.body.equals(big.whole.subarray(short.bodyBytes))).toBe(true);
    // A disk that fails may read it the next time: nothing is thrown away for that.
    expect((await storedBytes(app.dataDir, digest))?.equals(big.whole)).toBe(true);
    expect(await faults(app, 'problem="unreadable",found_by="request",outcome="found"')).toBe(1);
    expect(app.log).toContainEqual(
      expect.objectContaining({ msg: 'blob unreadable', digest, problem: 'unreadable' }),
    );
  });

  it('was cut short is no hit for a HEAD either, which fetches nothing', async () => {
    const { hub, app } = await filledApp();
    await shorten(app.dataDir, digest);
    const answer = await app.head(big.target);
    expect(answer.header('cache-status')).toBe('pierhead; fwd=uri-miss');
    expect(answer.header('content-length')).toBe(String(big.content.size));
    expect(hub.bytesSent(digest)).toBe(0);
  });

  it('is not known to the index is taken in when it is asked for', async () => {
    const { hub, app } = await filledApp();
    await app.stop();
    const index = openIndex(join(app.dataDir, 'index'));
    await index.deleteBlob(digest);
    await index.close();
    const next = await startTestApp({ hub, dataDir: app.dataDir, flags: { scrubInterval: 'off' } });
    const answer = await next.get(big.target);
    expect(answer.header('cache-status')).toBe('pierhead; hit');
    expect(answer.body.equals(big.whole)).toBe(true);
    expect(hub.bytesSent(digest)).toBe(0);
  });

  it('is not known to the index and is garbage is fetched anew', async () => {
    const { hub, app } = await filledApp();
    await app.stop();
    await rot(app.dataDir, digest);
    const index = openIndex(join(app.dataDir, 'index'));
    await index.deleteBlob(digest);
    await index.close();
    const next = await startTestApp({ hub, dataDir: app.dataDir, flags: { scrubInterval: 'off' } });
    expect((await next.get(big.target)).body.equals(big.whole)).toBe(true);
    expect(hub.bytesSent(digest)).toBe(big.content.size);
  });
});

describe('the scrub of an idle server', () => {
  it('finds what has rotted while it was down, fetches it anew, logs and counts it', async () => {
    const { hub, app } = await filledApp();
    await app.stop();
    await rot(app.dataDir, digest);
    const next = await startTestApp({ hub, dataDir: app.dataDir });
    const line = await eventually(() => next.log.find(({ msg }) => msg === 'bad content'), 'the finding');
    expect(line).toMatchObject({
      digest,
      problem: 'corrupt',
      outcome: 'repaired',
      foundBy: 'scrub',
      repositories: ['docker.io/library/big'],
      images: ['docker.io/library/big:latest'],
    });
    expect((await storedBytes(app.dataDir, digest))?.equals(big.whole)).toBe(true);
    expect(await faults(next, 'problem="corrupt",found_by="scrub",outcome="repaired"')).toBe(1);
    expect(await metric(next, 'pierhead_scrubbed_bytes_total')).toBeGreaterThanOrEqual(big.content.size);
  });

  it('removes what has rotted although upstream is away, so that it is never served', async () => {
    const { hub, app } = await filledApp();
    await app.stop();
    await rot(app.dataDir, digest);
    await hub.stop();
    const next = await startTestApp({ hub, dataDir: app.dataDir });
    const line = await eventually(() => next.log.find(({ msg }) => msg === 'bad content'), 'the finding');
    expect(line).toMatchObject({ problem: 'corrupt', outcome: 'removed' });
    expect(await storedBytes(app.dataDir, digest)).toBeUndefined();
    await hub.start();
    await inReach(next);
    expect((await next.get(big.target)).body.equals(big.whole)).toBe(true);
  });

  it('does not begin while a client is being answered', async () => {
    const { hub, app } = await filledApp();
    await app.stop();
    const other = bigBlob({ size: 4 * MIB, seed: 42 });
    hub.addBlob('library/big', other.content);
    await rot(app.dataDir, digest);
    const gate = hub.holdBlob(other.content.digest, 2 * MIB);
    const next = await startTestApp({ hub, dataDir: app.dataDir, flags: { listen: '127.0.0.1:0' } });
    const client = next.begin(other.target);
    await client.bodyReached(MIB);
    // Nothing tells that something has not begun; it would have, by now.
    await sleep(3000);
    expect(await metric(next, 'pierhead_scrubbed_bytes_total')).toBe(0);
    gate.release();
    expect((await client.finished()).complete).toBe(true);
    await eventually(() => next.log.some(({ msg }) => msg === 'bad content'), 'the scrub to go on');
  });
});
