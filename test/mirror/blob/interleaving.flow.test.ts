import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { startTestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, rangesAsked, storedBlob } from '../../support/big-blob.ts';
import { metric } from '../../support/metrics.ts';
import { eventually, withDeadline } from '../../support/wait.ts';
import { heldTransfer, seenLayers } from '../../support/seen-layers.ts';

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

  it('is of use even if upstream has no answer to a range of it', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, dataDir: await withKeptPart(hub) });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { status: { code: 416 } } });
    hub.fault({ match: { host: 'blobs' }, do: { ignoreRange: true } });
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
    expect(await metric(app, 'pierhead_fill_resumed_bytes_total')).toBe(3 * MIB);
  });
});

describe('a far range that upstream has no answer to', () => {
  it('waits for the segment that works, and costs its readers nothing', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { fillSegmentGap: '1MiB' } });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    const refusal = hub.fault({ match: { host: 'blobs' }, do: { status: { code: 416 } } });
    const far = app.begin(target, ranged(`bytes=${8 * MIB}-${9 * MIB - 1}`));
    await eventually(() => refusal.hits >= 5, 'the range to be given up');
    refusal.remove();
    gate.release();
    expect((await far.finished()).body.equals(whole.subarray(8 * MIB, 9 * MIB))).toBe(true);
    expect((await first.finished()).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
  });
});

describe('a fill that loses its readers', () => {
  it('makes way for one that waits already', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const { wanted, gate, first } = await heldTransfer(hub, app);
    const second = app.begin(wanted.target);
    await second.head();
    first.destroy();
    expect((await second.finished()).body.equals(wanted.content.expectedBytes(0, wanted.content.size))).toBe(
      true,
    );
    gate.release();
  });
});

describe('a client that waits for the first byte', () => {
  it('counts as a reader: fills without one make way before its headers go out', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const { left, wanted, gate, first } = await heldTransfer(hub, app);
    first.destroy();
    await app.caughtUp();
    const held = hub.fault({
      match: { host: 'blobs', reference: wanted.content.digest },
      do: { holdHeaders: true },
    });
    const second = app.begin(wanted.target);
    const whatCame = await Promise.race([
      held.reached.then(() => 'upstream was asked'),
      second.head().then(() => 'headers went out'),
    ]);
    expect(whatCame).toBe('upstream was asked');
    expect(await metric(app, 'pierhead_fills_queued')).toBe(1);
    const third = app.begin(left.target);
    await app.caughtUp();
    held.release();
    expect((await second.finished()).complete).toBe(true);
    gate.release();
    expect((await third.finished()).complete).toBe(true);
    expect(hub.count({ host: 'blobs', reference: wanted.content.digest })).toBe(1);
  });

  it('is not let down by one who leaves before it, having left too many fills', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const pulls = await seenLayers(hub, app, 5);
    const gates = pulls.slice(0, 4).map(({ content }) => hub.holdBlob(content.digest, MIB));
    for (const { target: left } of pulls.slice(0, 4)) {
      const reader = app.begin(left);
      await reader.bodyReached(MIB);
      reader.destroy();
      await app.caughtUp();
    }
    const [last] = pulls.slice(4);
    if (last === undefined) throw new Error('five layers were made');
    const held = hub.fault({
      match: { host: 'blobs', reference: last.content.digest },
      do: { holdHeaders: true },
    });
    const leaver = app.begin(last.target);
    await held.reached;
    const waiting = app.begin(last.target);
    await app.caughtUp();
    leaver.destroy();
    await app.caughtUp();
    held.release();
    const answer = await waiting.finished();
    expect(answer.status).toBe(200);
    expect(answer.body.equals(last.content.expectedBytes(0, last.content.size))).toBe(true);
    for (const gate of gates) gate.release();
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
