import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { golangFixture, multiPlatform } from '../fixtures/images.ts';
import { startContainerd, type Containerd } from '../support/containerd.ts';
import { allDigestsOf, digestsOf, type ImageDigests } from '../support/image-digests.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

const GOLANG = 'docker.io/library/golang:latest';
const UNATTESTED = 'docker.io/library/unattested:latest';

describe.each(UPSTREAMS)('containerd with Pierhead in its hosts.toml, upstream: $name', (kind) => {
  const golang = golangFixture();
  const unattested = multiPlatform({ attestations: false, message: 'unattested' });
  let mirror: Mirror;

  beforeAll(async () => {
    const content = [
      { repository: 'library/golang', ...golang },
      { repository: 'library/unattested', tags: ['latest'], image: unattested },
    ];
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
  });

  afterAll(() => mirror?.close());

  /** What is in the content store of a new containerd after a pull. */
  async function pulledDigests(pull: (containerd: Containerd) => Promise<unknown>): Promise<string[]> {
    const containerd = await freshContainerd();
    await pull(containerd);
    return containerd.contentDigests();
  }

  /** With an empty content store, for one test. */
  async function freshContainerd(): Promise<Containerd> {
    const containerd = await startContainerd({ mirror: mirror.pierhead.host });
    onTestFinished(() => containerd.close());
    return containerd;
  }

  const pulls: readonly (readonly [name: string, pull: () => Promise<void>])[] = [
    [
      'pulls one platform into an empty content store',
      async () => {
        const digests = await pulledDigests((containerd) =>
          containerd.pull(GOLANG, '--platform', 'linux/amd64'),
        );
        expect(digests).toEqual(sorted(digestsOf(golang.image, 'linux/amd64')));
      },
    ],
    [
      'pulls all platforms into an empty content store',
      async () => {
        const digests = await pulledDigests((containerd) => containerd.pull(UNATTESTED, '--all-platforms'));
        expect(digests).toEqual(sorted(allDigestsOf(unattested)));
      },
    ],
    [
      // containerd 1.6 cannot unpack attestations, so it is not made to.
      'fetches all platforms and their attestations',
      async () => {
        const digests = await pulledDigests((containerd) => containerd.fetch(GOLANG, '--all-platforms'));
        expect(digests).toEqual(sorted(allDigestsOf(golang.image)));
      },
    ],
  ];

  it.each(pulls)('%s', (_name, pull) => pull());

  it('names docker.io as the registry that it means, which Pierhead confirms', async () => {
    const containerd = await freshContainerd();
    const { stderr } = await containerd.pull(GOLANG, '--http-dump');
    expect(stderr).toContain('HEAD /v2/library/golang/manifests/latest?ns=docker.io');
    expect(stderr).toContain('Oci-Namespace: docker.io');
  });

  describe('when upstream is switched off', () => {
    beforeAll(() => mirror.upstream.stop());

    it.each(pulls)('%s', (_name, pull) => pull());
  });
});

function sorted({ manifests, blobs }: ImageDigests): string[] {
  return [...manifests, ...blobs].sort();
}
