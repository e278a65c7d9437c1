import { expect } from 'vitest';
import { generatedContent, type Content } from '../fake/content.ts';
import type { FakeHub } from '../fake/hub.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import type { TestApp } from './app.ts';
import { MIB } from './big-blob.ts';

/** A layer, and where it is to be had at a mirror. */
export interface Pull {
  readonly content: Content;
  readonly target: string;
}

/** Images of one layer each, whose manifests the mirror has seen, so that it knows their sizes. */
export async function seenLayers(hub: FakeHub, app: TestApp, count: number): Promise<Pull[]> {
  const pulls: Pull[] = [];
  for (let index = 0; index < count; index++) {
    const content = generatedContent({ size: 2 * MIB + index, seed: 100 + index });
    const repository = `library/one-${index}`;
    hub.add({
      repository,
      tags: ['latest'],
      image: image({ message: repository, layers: [opaqueLayer(content)] }),
    });
    expect((await app.get(`/v2/${repository}/manifests/latest`)).status).toBe(200);
    pulls.push({ content, target: `/v2/${repository}/blobs/${content.digest}` });
  }
  return pulls;
}

/** A layer that upstream holds back after its first MiB, the reader who has that much of it, and another layer. */
export async function heldTransfer(hub: FakeHub, app: TestApp) {
  const [left, wanted] = await seenLayers(hub, app, 2);
  if (left === undefined || wanted === undefined) throw new Error('two layers were made');
  const gate = hub.holdBlob(left.content.digest, MIB);
  const first = app.begin(left.target);
  await first.bodyReached(MIB);
  return { left, wanted, gate, first };
}
