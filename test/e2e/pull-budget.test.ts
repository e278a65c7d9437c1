import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import type { LoggedRequest } from '../fake/log.ts';
import { golangFixture } from '../fixtures/images.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/dockerd.ts';
import { attestationOf, blobsNamedBy, digestsOf } from '../support/image-digests.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { createPodman } from '../support/podman.ts';
import { checkNothingSecret, secretsOf } from '../support/secrets.ts';

const REFERENCE = 'docker.io/library/golang:latest';

/** Docker Hub counts the manifests that are got, so a mirror must get each of them once. */
describe('The pulls of', () => {
  const golang = golangFixture();
  const amd64 = digestsOf(golang.image, 'linux/amd64');
  const attestation = attestationOf(golang.image, 'linux/amd64');
  const statements = blobsNamedBy(golang.image.manifests.find(({ digest }) => digest === attestation)?.bytes);
  let hub: FakeHub;
  let pierhead: Pierhead;

  beforeEach(async () => {
    hub = await startFakeHub();
    hub.add({ repository: 'library/golang', ...golang });
    // Stale at every pull: that must cost a HEAD, which is no pull.
    pierhead = await startPierhead({ upstreamUrl: hub.url, settings: { TAG_TTL: '0s' } });
  });

  afterEach(async () => {
    await pierhead?.close();
    await hub?.close();
    expect(hub.violations).toEqual([]);
    checkNothingSecret(pierhead.output, secretsOf(hub.requests));
  });

  /** Each pulls golang for linux/amd64 and has nothing of it before. */
  const clients: readonly (readonly [name: string, pull: () => Promise<unknown>])[] = [
    [
      'a Docker Engine',
      async () => {
        const dockerd = await startDockerd({ mirror: pierhead.host });
        onTestFinished(() => dockerd.close());
        await dockerd.docker('pull', 'golang');
      },
    ],
    [
      'containerd',
      async () => {
        const containerd = await startContainerd({ mirror: pierhead.host });
        onTestFinished(() => containerd.close());
        await containerd.pull(REFERENCE, '--platform', 'linux/amd64');
      },
    ],
    [
      'Podman, which never asks by HEAD,',
      async () => {
        const podman = await createPodman({ mirror: pierhead.host });
        onTestFinished(() => podman.close());
        await podman.podman('pull', REFERENCE);
      },
    ],
  ];

  it.each(clients)('%s cost upstream one GET for each manifest and blob, all in all', async (_name, pull) => {
    await pull();
    await pull();
    // The attestation goes with the manifest, and what it states with it, whether or not the client asks for that.
    for (const digest of [attestation, ...statements]) {
      const isSent = ({ reference, status, closed }: LoggedRequest): boolean =>
        reference === digest && status === 200 && closed;
      await hub.waitFor(isSent, 'the attestation');
    }
    // What it still had to ask has been asked by then.
    await pierhead.stop();
    expect(digestsSent('manifest')).toEqual([...amd64.manifests, attestation].sort());
    const heads = { kind: 'manifest', method: 'HEAD', reference: 'latest' } as const;
    expect(hub.count(heads)).toBeGreaterThan(0);
    expect(digestsSent('blob')).toEqual([...amd64.blobs, ...statements].sort());
  });

  /** Of the GETs that brought a whole manifest or blob, sorted. */
  function digestsSent(kind: 'manifest' | 'blob'): string[] {
    const sent = hub.requests.filter(
      (request) => request.kind === kind && request.method === 'GET' && request.status === 200,
    );
    const digests = sent.map(({ reference = '' }) =>
      reference === 'latest' ? golang.image.root.digest : reference,
    );
    return digests.sort();
  }
});
