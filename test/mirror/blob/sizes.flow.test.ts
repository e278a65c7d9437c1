import { describe, expect, it } from 'vitest';
import { generatedContent, type Content } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, rangesAsked, storedBlob } from '../../support/big-blob.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { heldTransfer } from '../../support/seen-layers.ts';
import { eventually } from '../../support/wait.ts';

const content = generatedContent({ size: 3 * MIB + 7, seed: 301 });
const whole = content.expectedBytes(0, content.size);
const WRONG_SIZE = 70_000;

/** The mirror has seen images of two repositories with the same layer, one of which tells a wrong size of it. */
async function withLiar(hub: FakeHub, app: TestApp) {
  hub.addBlob('library/liar', content);
  const claimed: Content = { ...content, size: WRONG_SIZE };
  const made = { honest: content, liar: claimed };
  for (const [name, layer] of Object.entries(made)) {
    const one = image({ message: name, layers: [opaqueLayer(layer)] });
    const blobs = one.blobs.map((blob) => (blob.digest === content.digest ? content : blob));
    hub.add({ repository: `library/${name}`, tags: ['latest'], image: { ...one, blobs } });
    expect((await app.get(`/v2/library/${name}/manifests/latest`)).status).toBe(200);
  }
  const targetIn = (name: keyof typeof made) => `/v2/library/${name}/blobs/${content.digest}`;
  return { honest: targetIn('honest'), liar: targetIn('liar') };
}

describe('a wrong size in the manifest of one repository', () => {
  it('misleads no client of another one, whichever of them was first in a queue', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const { honest, liar } = await withLiar(hub, app);
    const { gate } = await heldTransfer(hub, app);
    const misled = app.begin(liar);
    await eventually(async () => (await metric(app, 'pierhead_fills_queued')) === 1, 'the first to queue');
    expect((await app.head(honest)).header('content-length')).toBe(String(content.size));
    const answer = await app.get(honest);
    expect(answer.status).toBe(200);
    expect(answer.body.equals(whole)).toBe(true);
    gate.release();
    const { status, bodyBytes } = await misled.finished();
    expect(status === 404 || bodyBytes < WRONG_SIZE).toBe(true);
    expect((await app.get(honest)).body.equals(whole)).toBe(true);
  });

  it('takes nothing from what was kept of the blob for the others', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub });
    const targets = await withLiar(hub, first);
    const gate = hub.holdBlob(content.digest, 2 * MIB);
    const reader = first.begin(targets.honest);
    await reader.bodyReached(2 * MIB - 64 * 1024);
    await eventually(
      async () => (await metric(first, 'pierhead_upstream_body_bytes_total')) >= 2 * MIB,
      'all that is not held to be received',
    );
    reader.destroy();
    await first.stop();
    gate.release();
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    const fault = hub.fault({ match: { host: 'blobs' }, do: { noContentLength: true } });
    expect((await second.get(targets.liar)).complete).toBe(false);
    fault.remove();
    expect((await second.get(targets.honest)).body.equals(whole)).toBe(true);
    await eventually(
      () => second.log.find(({ result, digest }) => result === 'stored' && digest === content.digest),
      'the blob to be stored',
    );
    expect(await metric(second, 'pierhead_fill_resumed_bytes_total')).toBe(2 * MIB);
  });
});

describe('an upstream whose first answer is of another size than is known', () => {
  it('is asked once more, since the next redirect may lead to a host that has the blob right', async () => {
    const big = bigBlob({ size: 2 * MIB + 3, seed: 302 });
    const hub = await hubWith(big);
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    const wrong = hub.fault({
      match: { host: 'blobs' },
      times: 1,
      do: { truncate: { toBytes: 1000, contentLength: 'short' } },
    });
    expect((await app.get(big.target)).body.equals(big.whole)).toBe(true);
    await storedBlob(app, big);
    expect(wrong.hits).toBe(1);
    expect(rangesAsked(hub, big)).toEqual([undefined, undefined]);
  });
});
