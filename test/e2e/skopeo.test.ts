import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { golangFixture } from '../fixtures/images.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { skopeo } from '../support/skopeo.ts';
import { testFolder } from '../support/temp.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

describe.each(UPSTREAMS)('skopeo that names Pierhead, upstream: $name', (kind) => {
  const golang = golangFixture();
  let mirror: Mirror;

  beforeAll(async () => {
    const content = [{ repository: 'library/golang', ...golang }];
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
  });

  afterAll(() => mirror?.close());

  function reference(): string {
    return `docker://${mirror.pierhead.host}/library/golang:latest`;
  }

  const uses: readonly (readonly [name: string, use: () => Promise<void>])[] = [
    [
      'copies all platforms byte for byte',
      async () => {
        const folder = await testFolder();
        await skopeo('copy', '--all', '--src-tls-verify=false', reference(), `dir:${folder}`);
        expect(await filesOf(folder)).toEqual(expectedFiles());
      },
    ],
    [
      'gets the manifest for Windows',
      async () => {
        const folder = await testFolder();
        const flags = ['--override-os', 'windows', '--override-arch', 'amd64'];
        await skopeo(...flags, 'copy', '--src-tls-verify=false', reference(), `dir:${folder}`);
        const windows = golang.image.images.get('windows/amd64');
        expect(await readFile(join(folder, 'manifest.json'))).toEqual(windows?.root.bytes);
      },
    ],
    [
      'shows the very bytes of the index',
      async () => {
        const raw = await skopeo('inspect', '--raw', '--tls-verify=false', reference());
        expect(raw).toEqual(golang.image.root.bytes);
      },
    ],
  ];

  it.each(uses)('%s', (_name, use) => use());

  describe('when upstream is switched off', () => {
    beforeAll(() => mirror.upstream.stop());

    it.each(uses)('%s', (_name, use) => use());
  });

  /** What skopeo's `dir:` transport writes: the root by a name of its own, everything else by its digest. */
  function expectedFiles(): Map<string, Buffer> {
    const { root, manifests, blobs } = golang.image;
    return new Map([
      ['version', Buffer.from('Directory Transport Version: 1.1\n')],
      ['manifest.json', root.bytes],
      ...manifests
        .filter(({ digest }) => digest !== root.digest)
        .map(({ digest, bytes }): [string, Buffer] => [`${digest.slice(7)}.manifest.json`, bytes]),
      ...blobs.map((blob): [string, Buffer] => [blob.digest.slice(7), blob.expectedBytes(0, blob.size)]),
    ]);
  }
});

async function filesOf(folder: string): Promise<Map<string, Buffer>> {
  const names = await readdir(folder);
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  );
}
