import { describe, expect, it } from 'vitest';
import { generatedContent } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { image, type Image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp } from '../../support/app.ts';
import { MIB } from '../../support/big-blob.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { heldTransfer, seenLayers, type Pull } from '../../support/seen-layers.ts';
import { eventually } from '../../support/wait.ts';

const asked = (hub: FakeHub, { content }: Pull) =>
  hub.count({ host: 'blobs', method: 'GET', reference: content.digest });

describe('a fill that has to wait for its turn', () => {
  it('sends its headers early, and its bytes when the turn comes', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const { wanted: two, gate, first } = await heldTransfer(hub, app);
    const second = app.begin(two.target);
    const head = await second.head();
    expect(head.status).toBe(200);
    expect(asked(hub, two)).toBe(0);
    expect(await metric(app, 'pierhead_fills_queued')).toBe(1);
    gate.release();
    expect((await second.finished()).body.equals(two.content.expectedBytes(0, two.content.size))).toBe(true);
    expect((await first.finished()).complete).toBe(true);
  });

  it('goes before one that nobody reads, which gives its place up and loses nothing', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const { left, wanted, gate, first } = await heldTransfer(hub, app);
    first.destroy();
    await app.caughtUp();
    const second = await app.get(wanted.target);
    expect(second.body.equals(wanted.content.expectedBytes(0, wanted.content.size))).toBe(true);
    gate.release();
    await eventually(
      async () => (await app.head(left.target)).header('cache-status') === 'pierhead; hit',
      'the fill that was left to be stored',
    );
    const ranges = hub.requests.flatMap(({ host, reference, headers }) =>
      host === 'blobs' && reference === left.content.digest ? [headers.range] : [],
    );
    expect(ranges).toEqual([undefined, `bytes=${MIB}-`]);
  });

  it('ends in no error in a morning herd of 50 cold images', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { fills: '4' } });
    const layers = Array.from({ length: 3 }, (_, index) =>
      generatedContent({ size: 300_000 + index, seed: 500 + index }),
    );
    const images: Image[] = Array.from({ length: 50 }, (_, index) => {
      const own = generatedContent({ size: 200_000 + index, seed: 900 + index });
      return image({ message: `herd ${index}`, layers: [...layers, own].map(opaqueLayer) });
    });
    for (const [index, one] of images.entries()) {
      hub.add({ repository: `herd/image-${index}`, tags: ['latest'], image: one });
    }
    hub.fault({ match: { host: 'blobs' }, do: { delayHeadersMs: 20 } });
    const pulls = images.map(async (one, index) => {
      const base = `/v2/herd/image-${index}`;
      expect((await app.get(`${base}/manifests/latest`)).status).toBe(200);
      const answers = await Promise.all(
        [one.config, ...one.layers].map(async ({ digest, size }) => ({
          size,
          answer: await app.get(`${base}/blobs/${digest}`, { timeoutMs: 60_000 }),
        })),
      );
      return answers
        .filter(({ answer, size }) => answer.status !== 200 || answer.bodyBytes !== size)
        .map(
          ({ answer, size }) => `${answer.status}, ${answer.bodyBytes} of ${size} bytes, ${answer.ending}`,
        );
    });
    expect((await Promise.all(pulls)).flat()).toEqual([]);
    for (const layer of layers) expect(hub.bytesSent(layer.digest)).toBe(layer.size);
    expect(await metric(app, 'pierhead_fills_total', 'result="stored"')).toBeGreaterThan(0);
    expect(app.log.filter(({ result }) => result !== undefined && result !== 'stored')).toEqual([]);
  }, 60_000);
});

describe('a client that asks for blobs and goes away', () => {
  it('leaves four fills behind at most', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const pulls = await seenLayers(hub, app, 7);
    const gates = pulls.map(({ content }) => hub.holdBlob(content.digest, MIB));
    for (const { target } of pulls) {
      const reader = app.begin(target);
      await reader.bodyReached(MIB);
      reader.destroy();
    }
    await eventually(
      () => app.log.filter(({ result }) => result === 'abandoned').length === 3,
      'three fills to be given up',
    );
    expect(await metric(app, 'pierhead_fills_running')).toBe(4);
    for (const gate of gates) gate.release();
    await eventually(async () => (await metric(app, 'pierhead_fills_running')) === 0, 'the others to end');
    expect(await metric(app, 'pierhead_fills_total', 'result="stored"')).toBe(4);
    // What was given up goes on from where it was.
    for (const { content, target } of pulls) {
      expect((await app.get(target)).body.equals(content.expectedBytes(0, content.size))).toBe(true);
    }
    await eventually(async () => (await metric(app, 'pierhead_fills_running')) === 0, 'all fills to end');
    expect(await metric(app, 'pierhead_fill_resumed_bytes_total')).toBe(3 * MIB);
  });

  it('leaves none behind for long if no manifest named the blob', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const content = generatedContent({ size: 3 * MIB, seed: 77 });
    hub.addBlob('library/plain', content);
    const gate = hub.holdBlob(content.digest, MIB);
    const reader = app.begin(`/v2/library/plain/blobs/${content.digest}`);
    await reader.bodyReached(MIB);
    reader.destroy();
    await eventually(() => app.log.find(({ result }) => result === 'abandoned'), 'the fill to end');
    gate.release();
    expect(await metric(app, 'pierhead_fills_running')).toBe(0);
  });
});
