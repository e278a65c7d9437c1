import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../fake/hub.ts';
import { startTestApp } from '../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, rangesAsked, storedBlob } from '../support/big-blob.ts';
import { metric } from '../support/metrics.ts';
import { eventually, withDeadline } from '../support/wait.ts';
import { seenLayers } from '../support/seen-layers.ts';

const big = bigBlob({ size: 12 * MIB + 5, seed: 61 });
const { whole, target } = big;

/** A data directory in which the first 3 MiB of the blob are kept. */
async function withKeptPart(hub: FakeHub): Promise<string> {
  const app = await startTestApp({ hub });
  await app.get('/v2/library/big/manifests/latest');
  const gate = hub.holdBlob(big.content.digest, 3 * MIB);
  const reader = app.begin(target);
  await reader.bodyReached(2 * MIB);
  await eventually(
    async () => (await metric(app, 'pierhead_upstream_body_bytes_total')) >= 3 * MIB,
    'all that is not held to be received',
  );
  reader.destroy();
  await app.stop();
  gate.release();
  return app.dataDir;
}

describe('a part that was kept', () => {
  it('gives nothing away to a repository that upstream has not confirmed, however long it has to wait', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: await withKeptPart(hub), flags: { fills: '1' } });
    const [other] = await seenLayers(hub, app, 1);
    if (other === undefined) throw new Error('a layer was made');
    const gate = hub.holdBlob(other.content.digest, MIB);
    const first = app.begin(other.target);
    await first.bodyReached(MIB);
    const elsewhere = `/v2/library/plain/blobs/${big.content.digest}`;
    const early = app.begin(elsewhere);
    const { status } = await early.head();
    gate.release();
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
    const late = await app.get(elsewhere);
    expect([status, late.status]).toEqual([404, 404]);
  });
});

describe('a stop of the server', () => {
  it('does not wait for an upstream that has not answered yet', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { headersTimeout: '30s' } });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({ match: { host: 'blobs' }, do: { hang: true } });
    const reader = app.begin(target);
    await hub.waitFor(({ host }) => host === 'blobs', 'the blob to be asked for');
    reader.destroy();
    await withDeadline(app.stop(), 'the server to stop');
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  });

  it('does not wait for a segment that has not begun yet, and keeps what the others have', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { headersTimeout: '30s', fillSegmentGap: '1MiB' } });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    hub.fault({ match: { host: 'blobs' }, do: { hang: true } });
    const far = app.begin(target, ranged(`bytes=${8 * MIB}-`));
    await eventually(() => rangesAsked(hub, big).length === 2, 'the far range to be asked for');
    first.destroy();
    far.destroy();
    await withDeadline(app.stop(), 'the server to stop');
    gate.release();
    expect(await readdir(join(app.dataDir, 'parts'))).toHaveLength(2);
  });
});
