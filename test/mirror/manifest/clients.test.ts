import { describe, expect, it } from 'vitest';
import type { Events } from '../../../src/events/events.ts';
import { PullStatistics } from '../../../src/mirror/after-pull/statistics.ts';
import type { PullClient } from '../../../src/mirror/answer/answers.ts';
import { ClientPlatforms, platformOfUserAgent } from '../../../src/mirror/manifest/clients.ts';
import { IndexEntries } from '../../../src/mirror/manifest/entries.ts';
import type { ServedManifest } from '../../../src/mirror/manifest/manifests.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { Platform } from '../../../src/oci/platform.ts';
import { storedManifest } from '../../fixtures/images.ts';
import { tellTo } from '../../support/told.ts';

const linux = (architecture: string, variant?: string): Platform => ({
  os: 'linux',
  architecture,
  ...(variant === undefined ? {} : { variant }),
});
const engine = (arch: string): PullClient => ({
  address: '10.0.0.1',
  accept: undefined,
  userAgent: `docker/28.5.2 os/linux arch/${arch}`,
  platform: undefined,
  rule: undefined,
});

describe('what a client is expected to ask for', () => {
  it('is the variant that it took before, which its User-Agent does not tell', () => {
    const clients = new ClientPlatforms(linux('amd64'));
    expect(clients.expected(engine('arm'))).toEqual(linux('arm'));
    clients.saw('10.0.0.1', linux('arm', 'v6'));
    expect(clients.expected(engine('arm'))).toEqual(linux('arm', 'v6'));
    expect(clients.of(engine('arm')).platform).toEqual(linux('arm'));
  });

  it('is not the other processor that an image once had for it', () => {
    const clients = new ClientPlatforms(linux('amd64'));
    clients.saw('10.0.0.1', linux('386'));
    expect(clients.expected(engine('amd64'))).toEqual(linux('amd64'));
  });

  it('is nothing where images are pulled for other machines than the one that asks', () => {
    const clients = new ClientPlatforms(linux('amd64'));
    clients.saw('10.0.0.1', linux('arm64'));
    expect(clients.expected(engine('amd64'))).toBeUndefined();
    clients.saw('10.0.0.1', linux('amd64'));
    expect(clients.expected(engine('amd64'))).toEqual(linux('amd64'));
  });

  it.each([
    ['spelt in two ways', linux('arm64'), linux('arm64', 'v8'), linux('arm64')],
    ['once had for an older processor', linux('amd64'), linux('386'), linux('amd64')],
    ['had for an older processor first', linux('arm', 'v6'), linux('arm', 'v7'), linux('arm', 'v7')],
    ['32-bit where there was no other', linux('arm64', 'v8'), linux('arm', 'v7'), linux('arm64', 'v8')],
  ])('is what it took, if that was %s', (_what, first, second, expected) => {
    const clients = new ClientPlatforms(linux('s390x'));
    const silent = { ...engine('amd64'), userAgent: 'containerd/v2.3.4' };
    for (const platform of [first, second, first]) clients.saw('10.0.0.1', platform);
    expect(clients.expected(silent)).toEqual(expected);
  });

  it('is nothing once different ones were seen, unless it says what it is', () => {
    const clients = new ClientPlatforms(linux('amd64'));
    const silent = { ...engine('amd64'), userAgent: 'containerd/v2.3.4' };
    clients.saw('10.0.0.1', linux('arm64'));
    expect(clients.expected(silent)).toEqual(linux('arm64'));
    clients.saw('10.0.0.1', linux('amd64'));
    expect(clients.expected(silent)).toBeUndefined();
    expect(clients.expected(engine('amd64'))).toEqual(linux('amd64'));
  });
});

describe('the pulls that are counted', () => {
  /** Images for these platforms, got by digest one after the other; what was counted. */
  function counted(platforms: readonly object[], clients = new ClientPlatforms(linux('amd64'))) {
    const listed = new IndexEntries();
    const pulls: Events['pull'][] = [];
    const statistics = new PullStatistics({
      entries: listed,
      clients,
      tell: tellTo({ pull: (pull) => pulls.push(pull) }),
    });
    const entries = platforms.map((platform, n) => ({
      mediaType: OCI_MANIFEST,
      digest: digestOf(Buffer.from(`${n}`)),
      size: 1,
      platform,
    }));
    listed.note(manifestOf(storedManifest(OCI_INDEX, { manifests: entries })));
    for (const { digest } of entries) {
      const served = {
        request: {
          repository: { host: 'docker.io', name: 'library/app' },
          reference: { kind: 'digest', digest },
          client: engine('amd64'),
          headOnly: false,
        },
        answer: { manifest: { descriptor: { digest, mediaType: OCI_MANIFEST, size: 1 } }, cache: 'hit' },
      } as const;
      statistics.manifestServed(served as unknown as ServedManifest);
    }
    return pulls;
  }

  it('are put down to the platforms that there are, and all others together', () => {
    const absurd = [linux('a'.repeat(5000)), { os: 'linux\n', architecture: 'amd64' }, linux('arm', 'v99')];
    const platforms = counted([linux('x86_64'), linux('arm', 'v6'), ...absurd]).map((pull) => pull.platform);
    expect(platforms).toEqual(['linux/amd64', 'linux/arm/v6', 'other', 'other', 'other']);
  });

  it('are no pulls of attestations', () => {
    const platforms = counted([linux('amd64'), { os: 'unknown', architecture: 'unknown' }]);
    expect(platforms.map((pull) => pull.platform)).toEqual(['linux/amd64']);
  });

  it('of what nobody runs teach nothing of the client', () => {
    const clients = new ClientPlatforms(linux('amd64'));
    counted([linux('a'.repeat(5000))], clients);
    const silent = { ...engine('amd64'), userAgent: undefined };
    expect(clients.expected(silent)).toBeUndefined();
  });

  it('are so many and no more, whatever an index holds', () => {
    const variants = Array.from({ length: 10 }, (_, major) =>
      Array.from({ length: 10 }, (_each, minor) => `v${major}.${minor}`),
    ).flat();
    const systems = ['linux', 'windows', 'darwin', 'freebsd', 'netbsd', 'openbsd'];
    const architectures = ['amd64', '386', 'arm', 'arm64', 'riscv64', 'ppc64le', 's390x', 'mips', 'wasm'];
    const platforms = systems.flatMap((os) =>
      architectures.flatMap((architecture) => variants.map((variant) => ({ os, architecture, variant }))),
    );
    expect(platforms.length).toBeGreaterThan(5000);
    const pulls = counted(platforms);
    expect(new Set(pulls.map(({ image, platform }) => `${image} ${platform}`)).size).toBe(5001);
    expect(pulls.at(-1)).toEqual({ image: 'other', platform: 'other' });
  });
});

describe('a User-Agent', () => {
  it('tells the platform of a Docker Engine, and not that of its command line', () => {
    const docker =
      'docker/28.5.2 go/go1.24 git-commit/abc kernel/6.1 os/linux arch/arm64 containerd-client/2.1.5 storage-driver/overlayfs UpstreamClient(Docker-Client/28.5.2 \\(darwin\\) os/darwin arch/amd64)';
    expect(platformOfUserAgent(docker)).toEqual({ os: 'linux', architecture: 'arm64' });
    expect(platformOfUserAgent('cri-o/1.30.0 go/go1.22 os/linux arch/s390x')).toEqual({
      os: 'linux',
      architecture: 's390x',
    });
  });

  it('tells it in whatever order its words come', () => {
    expect(platformOfUserAgent('docker/30.0 arch/amd64 kernel/os/darwin os/windows')).toEqual({
      os: 'windows',
      architecture: 'amd64',
    });
  });

  it('tells nothing for other clients', () => {
    for (const userAgent of [
      undefined,
      '',
      'containerd/v2.3.4',
      'skopeo/1.9.3',
      'UpstreamClient(os/linux arch/amd64)',
      'docker/28 UpstreamClient(os/linux) arch/amd64',
      'x os/ arch/',
      'x os/li(nux arch/amd64',
      `x os/linux arch/${'a'.repeat(300)}`,
    ]) {
      expect(platformOfUserAgent(userAgent)).toBeUndefined();
    }
  });
});
