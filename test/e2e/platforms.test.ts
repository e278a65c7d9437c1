import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { golangFixture, type Image } from '../fixtures/images.ts';
import { windowsList } from '../fixtures/lists.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { fetchRaw } from '../support/http.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { skopeo } from '../support/skopeo.ts';
import { tempFolder, testFolder, type TempFolder } from '../support/temp.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

const VERSIONS = ['10.0.17763.6775', '10.0.20348.3091', '10.0.26100.2894'];

/** One tag, many platforms: each client gets the image for the machine that it runs on. */
describe.each(UPSTREAMS)('Platforms, upstream: $name', (kind) => {
  const golang = golangFixture();
  const nano = windowsList(VERSIONS);
  const content = [
    { repository: 'library/golang', ...golang },
    { repository: 'library/nano', tags: ['latest'], image: nano.list },
  ];
  let folder: TempFolder;
  let mirror: Mirror;
  /** Its network has a rule: lists are resolved for linux/arm/v7. */
  let armMirror: Mirror;
  let dockerd: Dockerd;

  beforeAll(async () => {
    folder = await tempFolder();
    const CONFIG = join(folder.path, 'pierhead.yaml');
    await writeFile(
      CONFIG,
      'clients:\n- network: 127.0.0.0/8\n  platform: linux/arm/v7\n  resolve: always\n',
    );
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
    armMirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s', CONFIG } });
    dockerd = await startDockerd({ mirror: mirror.pierhead.host });
  });

  afterAll(async () => {
    await dockerd?.close();
    await armMirror?.close();
    await mirror?.close();
    await folder?.remove();
  });

  function child(platform: string): Image {
    const found = golang.image.images.get(platform);
    if (found === undefined) throw new Error(`the fixture has no ${platform}`);
    return found;
  }

  async function copied(from: Mirror, ...flags: readonly string[]): Promise<Buffer> {
    const target = await testFolder();
    const reference = `docker://${from.pierhead.host}/library/golang:latest`;
    await skopeo(...flags, 'copy', '--src-tls-verify=false', reference, `dir:${target}`);
    return readFile(join(target, 'manifest.json'));
  }

  /** A manifest is of use with its blobs only, and without upstream is not given out before they are there. */
  async function fetchBlobs(repository: string, { config, layers }: Image): Promise<void> {
    for (const { digest } of [config, ...layers]) {
      const answer = await fetchRaw(`${mirror.pierhead.url}/v2/library/${repository}/blobs/${digest}`);
      expect(answer.complete).toBe(true);
    }
  }

  const uses: readonly (readonly [name: string, use: () => Promise<void>])[] = [
    [
      'a Docker Engine pulls and is given each platform that it names',
      async () => {
        for (const [flag, os, architecture] of [
          ['linux/arm64', 'linux', 'arm64'],
          ['linux/arm/v7', 'linux', 'arm'],
          ['linux/amd64', 'linux', 'amd64'],
        ] as const) {
          await dockerd.docker('pull', '--platform', flag, 'golang');
          const format = '{{.Os}}/{{.Architecture}}';
          const shown = await dockerd.docker('image', 'inspect', '--format', format, 'golang');
          expect(shown).toBe(`${os}/${architecture}`);
        }
      },
    ],
    [
      'skopeo copies the platform that it names',
      async () => {
        const arm64 = await copied(mirror, '--override-os', 'linux', '--override-arch', 'arm64');
        expect(arm64).toEqual(child('linux/arm64/v8').root.bytes);
        const arm = ['--override-os', 'linux', '--override-arch', 'arm', '--override-variant', 'v7'];
        expect(await copied(mirror, ...arm)).toEqual(child('linux/arm/v7').root.bytes);
      },
    ],
    [
      'a client that takes no lists is given the manifest for what its User-Agent says',
      async () => {
        for (const [os, arch, name] of [
          ['linux', 'amd64', 'linux/amd64'],
          ['linux', 'arm64', 'linux/arm64/v8'],
          ['linux', 'arm', 'linux/arm/v7'],
          ['windows', 'amd64', 'windows/amd64'],
        ] as const) {
          const headers = { Accept: OCI_MANIFEST, 'User-Agent': `docker/18.09.0 os/${os} arch/${arch}` };
          const url = `${mirror.pierhead.url}/v2/library/golang/manifests/latest`;
          const answer = await fetchRaw(url, { headers });
          expect(answer.body).toEqual(child(name).root.bytes);
          expect(answer.header('docker-content-digest')).toBe(child(name).root.digest);
          const head = await fetchRaw(url, { method: 'HEAD', headers });
          expect(head.header('docker-content-digest')).toBe(child(name).root.digest);
          expect(head.header('content-length')).toBe(String(child(name).root.bytes.length));
          await fetchBlobs('golang', child(name));
        }
      },
    ],
    [
      'a client of a network of linux/arm/v7 is given that, though it names nothing and takes lists',
      async () => {
        expect(await copied(armMirror)).toEqual(child('linux/arm/v7').root.bytes);
        const list = `docker://${armMirror.pierhead.host}/library/golang@${golang.image.root.digest}`;
        const raw = await skopeo('inspect', '--raw', '--tls-verify=false', list);
        expect(raw).toEqual(golang.image.root.bytes);
      },
    ],
    [
      'a Windows is given the newest image that its version runs',
      async () => {
        for (const [host, image] of [
          ['10.0.17763', '10.0.17763.6775'],
          ['10.0.22621', '10.0.20348.3091'],
          ['10.0.26100', '10.0.26100.2894'],
        ] as const) {
          const url = `${mirror.pierhead.url}/v2/library/nano/manifests/latest?platform=windows(${host})/amd64`;
          const answer = await fetchRaw(url);
          const wanted = nano.images.get(image);
          if (wanted === undefined) throw new Error(`the fixture has no ${image}`);
          expect(answer.body).toEqual(wanted.root.bytes);
          await fetchBlobs('nano', wanted);
        }
        const target = await testFolder();
        const reference = `docker://${mirror.pierhead.host}/library/nano:latest`;
        const flags = ['--override-os', 'windows', '--override-arch', 'amd64'];
        await skopeo(...flags, 'copy', '--src-tls-verify=false', reference, `dir:${target}`);
        const written = await readFile(join(target, 'manifest.json'));
        expect([...nano.images.values()].map(({ root }) => root.bytes.toString())).toContain(
          written.toString(),
        );
      },
    ],
  ];

  it.each(uses)('%s', (_name, use) => use());

  describe('when upstream is switched off', () => {
    beforeAll(async () => {
      await mirror.upstream.stop();
      await armMirror.upstream.stop();
      await dockerd.removeImages();
    });

    it.each(uses)('%s', (_name, use) => use());
  });
});
