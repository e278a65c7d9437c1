import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blobPath } from '../../../src/store/part/layout.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, storedBlob } from '../../support/big-blob.ts';
import { failAll, failOneRead } from '../../support/failing-disk.ts';
import { metric } from '../../support/metrics.ts';
import { readiness } from '../../support/reach.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { blobFiles } from '../../support/space.ts';
import { eventually } from '../../support/wait.ts';

const big = bigBlob({ size: 24 * MIB + 99, seed: 31 });
const { whole, target } = big;
const SIZE = whole.length;

/** Files of fills; a disk that failed is tried by files of its own. */
const parts = async (app: TestApp) =>
  (await readdir(join(app.dataDir, 'parts'))).filter((name) => !name.startsWith('probe.'));
/** Percentages are of what is free, and so would not let a transfer begin that cannot end. */
const flags = { cacheSize: '1GiB' };

describe('a disk that is full in the middle of a transfer', () => {
  it('costs no reader a byte, wherever it is, keeps nothing half, and is told', async () => {
    // Room enough when the transfer begins; others take it then.
    const disk = await smallDisk(40 * MIB);
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: disk.dataDir, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 8 * MIB);
    const first = app.begin(target);
    const second = app.begin(target);
    const piece = app.begin(target, ranged(`bytes=${6 * MIB}-${20 * MIB - 1}`));
    await Promise.all([first.bodyReached(7 * MIB), second.bodyReached(7 * MIB), piece.bodyReached(MIB)]);
    await writeFile(join(disk.dataDir, 'filler'), Buffer.alloc(40 * MIB)).catch(() => undefined);
    gate.release();
    expect((await first.finished()).body.equals(whole)).toBe(true);
    expect((await second.finished()).body.equals(whole)).toBe(true);
    expect((await piece.finished()).body.equals(whole.subarray(6 * MIB, 20 * MIB))).toBe(true);
    await eventually(async () => (await parts(app)).length === 0, 'the part to be gone');
    // Whether the disk is found full or refusing depends on what is looked at first.
    expect(await readiness(app)).toEqual({
      status: 'degraded',
      degraded: [expect.stringMatching(/^disk( full)?$/)],
    });
    expect((await app.get('/v2/')).status).toBe(200);
  });

  it('is said to be full from the start, though nobody has asked for anything', async () => {
    const disk = await smallDisk(32 * MIB);
    const hub = await hubWith(big);
    await (await startTestApp({ hub, dataDir: disk.dataDir })).stop();
    const filler = join(disk.dataDir, 'filler');
    await writeFile(filler, Buffer.alloc(32 * MIB)).catch(() => undefined);
    const app = await startTestApp({ hub, dataDir: disk.dataDir });
    expect(await readiness(app)).toEqual({ status: 'degraded', degraded: ['disk full'] });
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await writeFile(filler, '');
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to have room');
    const said = app.log
      .map(({ msg }) => msg)
      .filter((msg) => msg === 'disk full' || msg === 'disk has room again');
    expect(said).toEqual(['disk full', 'disk has room again']);
  });

  it('lets the next ones through unkept, and recovers by itself', async () => {
    const disk = await smallDisk(32 * MIB);
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: disk.dataDir, flags });
    const filler = join(disk.dataDir, 'filler');
    await writeFile(filler, Buffer.alloc(31 * MIB)).catch(() => undefined);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await writeFile(filler, '');
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to be tried again');
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
  });

  it('never lets wrong bytes end cleanly', async () => {
    const disk = await smallDisk(16 * MIB);
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: disk.dataDir, flags });
    hub.fault({ match: { host: 'blobs' }, do: { corruptAt: 20 * MIB } });
    const answer = await app.get(target);
    expect(answer.complete).toBe(false);
    expect(answer.ending).toBe('rst');
    expect(answer.bodyBytes).toBeLessThanOrEqual(SIZE - 64 * 1024);
  });
});

describe('a disk that becomes read-only', () => {
  it('serves what it holds, passes on what it does not, and is used again once it can be written', async () => {
    const disk = await smallDisk(64 * MIB);
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: disk.dataDir, flags });
    expect((await app.get(target)).complete).toBe(true);
    await storedBlob(app, big);
    await disk.remount('ro');
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    const hello = `/v2/library/plain/manifests/latest`;
    const manifest = JSON.parse((await app.get(hello)).body.toString()) as { layers: { digest: string }[] };
    const layer = `/v2/library/plain/blobs/${manifest.layers[0]?.digest}`;
    expect((await app.get(layer)).header('cache-status')).toBe('pierhead; fwd=bypass');
    expect(await readiness(app)).toEqual({ status: 'degraded', degraded: ['disk'] });
    await disk.remount('rw');
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to be tried again');
    expect((await app.get(layer)).header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
  });
});

describe('a disk that fails', () => {
  it.each(['EIO', 'EROFS', 'EDQUOT'])(
    'with %s in the middle of a transfer costs no reader a byte',
    async (code) => {
      const hub = await hubWith(big);
      const app = await startTestApp({ hub, flags });
      await app.get('/v2/library/big/manifests/latest');
      const gate = hub.holdBlob(big.content.digest, 8 * MIB);
      const first = app.begin(target);
      await first.bodyReached(7 * MIB);
      const failing = await failAll('writev', code);
      gate.release();
      expect((await first.finished()).body.equals(whole)).toBe(true);
      await eventually(() => app.log.find(({ result }) => result === 'disk'), 'the fill to end');
      expect(await parts(app)).toEqual([]);
      await failing();
      await eventually(
        async () => (await readiness(app))['status'] === 'ready',
        'the disk to be tried again',
      );
      expect((await app.get(target)).body.equals(whole)).toBe(true);
      await storedBlob(app, big);
    },
  );
});

/** Something is in the way of `path` until what this resolves to is called. */
async function inTheWayOf(path: string): Promise<() => Promise<void>> {
  const aside = `${path}.aside`;
  await mkdir(dirname(path), { recursive: true });
  const isThere = await rename(path, aside).then(
    () => true,
    () => false,
  );
  await writeFile(path, '');
  return async () => {
    await rm(path);
    if (isThere) await rename(aside, path);
  };
}

type Fail = (app: TestApp) => Promise<() => Promise<void>>;

describe('a disk that fails at one step of keeping a blob', () => {
  it.each<[step: string, Fail]>([
    ['its bytes cannot be synced', () => failAll('datasync', 'ENOSPC')],
    [
      'there is no folder for it',
      ({ dataDir }) => inTheWayOf(dirname(blobPath(dataDir, big.content.digest))),
    ],
    ['its folder cannot be synced', () => failAll('sync', 'EIO')],
  ])('(%s) costs no reader a byte, and nothing is left or counted', async (_, fail) => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 8 * MIB);
    const reader = app.begin(target);
    await reader.bodyReached(7 * MIB);
    const mend = await fail(app);
    gate.release();
    expect((await reader.finished()).body.equals(whole)).toBe(true);
    await eventually(() => app.log.find(({ result }) => result === 'disk'), 'the fill to end');
    await mend();
    expect(await parts(app)).toEqual([]);
    expect(await blobFiles(app.dataDir)).toEqual([]);
    expect(await metric(app, 'pierhead_room_reserved_bytes')).toBe(0);
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to be tried again');
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
  });

  it('(a part cannot be begun) costs no reader a byte', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    const mend = await inTheWayOf(join(app.dataDir, 'parts'));
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    expect(await metric(app, 'pierhead_room_reserved_bytes')).toBe(0);
    await mend();
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to be tried again');
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
  });
});

describe('a part that cannot be read back', () => {
  it('costs its readers no byte: who needs it goes on from upstream', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 8 * MIB);
    const first = app.begin(target);
    await first.bodyReached(7 * MIB);
    await failOneRead({ after: 3 });
    // What this one begins with is no longer in memory.
    const late = app.begin(target);
    await late.bodyReached(MIB / 2);
    gate.release();
    for (const reader of [first, late]) {
      const answer = await reader.finished();
      expect(answer.complete).toBe(true);
      expect(answer.body.equals(whole)).toBe(true);
    }
    await storedBlob(app, big);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
  });
});

describe('a disk that fails while readers are far apart', () => {
  it('costs none of them a byte, wherever each of them goes on without it', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { ...flags, fillSegments: '2', fillSegmentGap: '1MiB' } });
    await app.get('/v2/library/big/manifests/latest');
    const gates = [2, 15, 22].map((at) => hub.holdBlob(big.content.digest, at * MIB));
    const far = app.begin(target, ranged(`bytes=${14 * MIB}-${16 * MIB - 1}`));
    await far.bodyReached(MIB);
    // The first connection makes way for the third place, and has to have brought before what is read of it.
    await eventually(
      async () => (await metric(app, 'pierhead_upstream_body_bytes_total')) >= 3 * MIB,
      'what is held to have come up to there',
    );
    const farther = app.begin(target, ranged(`bytes=${21 * MIB}-${23 * MIB - 1}`));
    await farther.bodyReached(MIB);
    // Both connections are for others: it waits for what comes next.
    const early = app.begin(target);
    await early.bodyReached(2 * MIB);
    const failing = await failAll('writev', 'EIO');
    for (const gate of gates) gate.release();
    expect((await early.finished()).body.equals(whole)).toBe(true);
    expect((await far.finished()).body.equals(whole.subarray(14 * MIB, 16 * MIB))).toBe(true);
    expect((await farther.finished()).body.equals(whole.subarray(21 * MIB, 23 * MIB))).toBe(true);
    await failing();
  });
});
