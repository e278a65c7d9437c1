import { statfs } from 'node:fs/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { generatedContent } from '../../fake/content.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { MIB } from '../../support/big-blob.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { eventually } from '../../support/wait.ts';

const LIMIT = 32 * MIB;
const DAY = 24 * 60 * 60 * 1000;
/** What a file system adds by its blocks is not counted: half of one for each of some hundred files, and lock files. */
const BLOCKS_BYTES = MIB / 4;

/** The most that the file system had in use, from now on. */
function watched(folder: string): { readonly mostBytes: number } {
  const seen = { mostBytes: 0 };
  const watching = new AbortController();
  const look = async (): Promise<void> => {
    while (!watching.signal.aborted) {
      const { blocks, bfree, bsize } = await statfs(folder);
      seen.mostBytes = Math.max(seen.mostBytes, (blocks - bfree) * bsize);
    }
  };
  const looking = look();
  onTestFinished(() => {
    watching.abort();
    return looking;
  });
  return seen;
}

/** A manifest of 100 kB that names a blob of its own. */
function bulkyManifest(at: number) {
  const config = generatedContent({ size: 100, seed: 7000 + at });
  const descriptor = { mediaType: 'application/octet-stream', digest: config.digest, size: config.size };
  const annotations = { bulk: `${at}`.padEnd(100_000, '-') };
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: descriptor,
      layers: [],
      annotations,
    }),
  );
  return { config, manifest: { digest: digestOf(bytes), mediaType: OCI_MANIFEST, bytes } };
}

async function pull(
  app: TestApp,
  name: string,
  layers: readonly { readonly digest: string }[],
): Promise<void> {
  const got = [await app.get(`/v2/library/${name}/manifests/latest`)];
  for (const { digest } of layers) got.push(await app.get(`/v2/library/${name}/blobs/${digest}`));
  for (const { status, complete } of got) expect([status, complete]).toEqual([200, true]);
}

describe('a cache of which all is being pulled', () => {
  it('never takes more of the disk than its limit, parts and index included, and serves all the same', async () => {
    const disk = await smallDisk(128 * MIB, { index: 'inside' });
    const hub = await filledHub();
    let now = Date.now();
    const app = await startTestApp({
      hub,
      dataDir: disk.dataDir,
      flags: { cacheSize: `${LIMIT}` },
      now: () => now,
    });
    const seen = watched(disk.dataDir);
    const images = Array.from({ length: 20 }, (_, at) => {
      const layers = [3 * MIB, 100_000].map((size, layer) =>
        opaqueLayer(generatedContent({ size: size + at, seed: 6000 + 2 * at + layer })),
      );
      const made = image({ message: `full ${at}`, layers });
      hub.add({ repository: `library/full-${at}`, tags: ['latest'], image: made });
      return { name: `full-${at}`, layers: made.layers };
    });
    await Promise.all(images.map(({ name, layers }) => pull(app, name, layers)));
    expect(await metric(app, 'pierhead_room_used_bytes')).toBeGreaterThan(0.85 * LIMIT);
    for (let at = 0; at < 120; at++) {
      const { config, manifest } = bulkyManifest(at);
      hub.addBlob(`library/bulky-${at}`, config);
      hub.addManifest(`library/bulky-${at}`, manifest, ['latest']);
      await pull(app, `bulky-${at}`, [config]);
    }
    expect(seen.mostBytes).toBeLessThanOrEqual(LIMIT + BLOCKS_BYTES);
    expect(JSON.parse((await app.get('/readyz')).body.toString())).toEqual({ status: 'ready' });
    // Once nobody pulls any more there is room again.
    now += DAY;
    await pull(app, 'bulky-119', []);
    const { config, manifest } = bulkyManifest(999);
    hub.addBlob('library/last', config);
    hub.addManifest('library/last', manifest, ['latest']);
    await eventually(async () => {
      await pull(app, 'last', [config]);
      return (await metric(app, 'pierhead_evicted_bytes_total')) > 0;
    }, 'room to be made');
    expect(seen.mostBytes).toBeLessThanOrEqual(LIMIT + BLOCKS_BYTES);
  }, 60_000);
});
