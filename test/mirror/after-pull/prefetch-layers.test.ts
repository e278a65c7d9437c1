import { describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { LayerAhead } from '../../../src/mirror/after-pull/prefetch-layers.ts';
import type { Upstream } from '../../../src/upstream/upstream.ts';

const repository = { host: 'docker.io', name: 'library/app' };
const upstream = { host: 'docker.io' } as Upstream;
const digests = (name: string, count: number): Digest[] =>
  Array.from({ length: count }, (_, n) => digestOf(Buffer.from(`${name} ${n}`)));

function layerAhead(mayPrefetch = () => true) {
  const begun: Digest[] = [];
  const errors: unknown[] = [];
  const ahead = new LayerAhead({
    blobs: {
      prefetch: ({ digest }) => {
        begun.push(digest);
        return Promise.resolve({ stored: new Promise<boolean>(() => undefined) });
      },
    },
    mayPrefetch,
    onFetched: () => undefined,
    onError: (error) => errors.push(error),
  });
  const offer = (layers: readonly Digest[], client = '10.0.0.1') => {
    const manifest = digestOf(Buffer.from(layers.join()));
    ahead.offer({ upstream, repository, client, manifest, layers });
  };
  return { ahead, begun, errors, offer };
}

describe('layers that are begun before anybody asks for them', () => {
  it('are three at a time, whatever is offered', async () => {
    const { begun, offer } = layerAhead();
    for (let n = 0; n < 50; n++) offer(digests(`image ${n}`, 100), `10.0.0.${n}`);
    await new Promise(setImmediate);
    expect(begun).toEqual(digests('image 0', 3));
  });

  it('are none of a manifest with more of them than anything can be run with', async () => {
    const { ahead, begun, errors, offer } = layerAhead();
    const layers = digests('tower', 20_000);
    offer(layers);
    for (const digest of layers) ahead.asked({ upstream, repository, client: '10.0.0.1', digest });
    await new Promise(setImmediate);
    expect(begun).toEqual([]);
    expect(errors).toEqual([]);
  });

  it('are none while upstream cannot be asked or the budget is low, and none later for what was offered then', async () => {
    const state = { may: false };
    const { begun, offer } = layerAhead(() => state.may);
    offer(digests('spared', 5));
    await new Promise(setImmediate);
    state.may = true;
    offer(digests('fresh', 2), '10.0.0.2');
    await new Promise(setImmediate);
    expect(begun).toEqual(digests('fresh', 2));
  });

  it('are none once that is closed', async () => {
    const { ahead, begun, offer } = layerAhead();
    ahead.close();
    offer(digests('late', 3));
    await new Promise(setImmediate);
    expect(begun).toEqual([]);
  });
});
