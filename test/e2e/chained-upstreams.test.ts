import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import { golangFixture } from '../fixtures/images.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startDockerRegistry } from '../support/docker-registry.ts';

const golang = golangFixture();

describe('Pierhead, in front of', () => {
  let hub: FakeHub;

  beforeEach(async () => {
    hub = await startFakeHub();
    for (const repository of ['library/golang', 'org/golang', 'proxy-cache/library/golang']) {
      hub.add({ repository, ...golang });
    }
  });

  afterEach(async () => {
    await hub.close();
  });

  /** HEADs of what is cold on the whole way, then the pull of everything. */
  async function pullThrough(app: TestApp, repository: string): Promise<void> {
    const path = `/v2/${repository}`;
    for (const blob of golang.image.blobs) {
      const head = await app.head(`${path}/blobs/${blob.digest}`);
      expect([head.status, head.header('content-length')]).toEqual([200, String(blob.size)]);
    }
    const tag = await app.head(`${path}/manifests/latest`);
    expect([tag.status, tag.header('docker-content-digest')]).toEqual([200, golang.image.root.digest]);
    for (const { digest, bytes } of golang.image.manifests) {
      expect((await app.get(`${path}/manifests/${digest}`)).body.equals(bytes)).toBe(true);
    }
    for (const blob of golang.image.blobs) {
      const answer = await app.get(`${path}/blobs/${blob.digest}`);
      expect(answer.body.equals(blob.expectedBytes(0, blob.size))).toBe(true);
      const part = await app.get(`${path}/blobs/${blob.digest}`, { headers: [['Range', 'bytes=1-2']] });
      expect([part.status, part.body.length]).toEqual([206, Math.min(2, blob.size - 1)]);
    }
    const tags = JSON.parse((await app.get(`${path}/tags/list`)).body.toString()) as { tags: string[] };
    expect(tags.tags.toSorted()).toEqual([...golang.tags].toSorted());
    expect((await app.get(`${path}/manifests/none-such`)).status).toBe(404);
  }

  it('another Pierhead pulls everything, and a HEAD of a cold blob stays a HEAD', async () => {
    const inner = await startTestApp({ hub });
    const outer = await startTestApp({ hub: inner.url });
    await outer.head(`/v2/library/golang/blobs/${golang.image.blobs[0]?.digest}`);
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
    await pullThrough(outer, 'library/golang');
    expect(hub.violations).toEqual([]);
  });

  it("another Pierhead's other registries pulls everything by their host in the path", async () => {
    const yaml = `upstreams:\n  quay.io: "${hub.url}"\n`;
    const inner = await startTestApp({ hub: 'http://127.0.0.1:9', yaml });
    const outer = await startTestApp({
      hub: 'http://127.0.0.1:9',
      yaml: `upstreams:\n  quay.io: "${inner.url}/v2/quay.io"\n`,
    });
    await pullThrough(outer, 'quay.io/org/golang');
    const byNamespace = await outer.head('/v2/org/golang/manifests/latest?ns=quay.io');
    expect(byNamespace.header('oci-namespace')).toBe('quay.io');
    expect(hub.violations).toEqual([]);
  });

  it("distribution's proxy cache pulls everything", async () => {
    const registry = await startDockerRegistry({ remoteUrl: hub.url });
    onTestFinished(() => registry.close());
    const app = await startTestApp({ hub: registry.url });
    await pullThrough(app, 'library/golang');
  });

  it('a proxy cache that puts a project before all names, as Harbor does, pulls everything', async () => {
    const app = await startTestApp({ hub: `${hub.url}/v2/proxy-cache` });
    await pullThrough(app, 'library/golang');
    const repositories = new Set(hub.requests.flatMap(({ repository }) => repository ?? []));
    expect(repositories).toEqual(new Set(['proxy-cache/library/golang']));
    expect(hub.violations).toEqual([]);
  });
});
