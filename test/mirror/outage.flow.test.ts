import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FaultAction } from '../fake/faults.ts';
import type { FakeHub } from '../fake/hub.ts';
import { image, multiPlatform } from '../fixtures/images.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../support/filled-hub.ts';
import { fetchRaw } from '../support/http.ts';
import { inReach, outOfReach } from '../support/reach.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const PLAIN_LATEST = '/v2/library/plain/manifests/latest';
const UNCACHED = '/v2/library/other/manifests/latest';
const renewed = multiPlatform({ message: 'renewed' });
const alwaysStale = { tagTtl: '0s' };
const DOCKER = { headers: [['User-Agent', 'docker/28.5.2 go/go1.24 os/linux arch/amd64']] } as const;
const CONTAINERD_STORE = {
  headers: [
    ['User-Agent', 'docker/29.1.0 os/linux arch/amd64 containerd-client/2.2.0 storage-driver/overlayfs'],
  ],
} as const;

const [plainLayer] = PLAIN.image.layers;
const plainBlobs = [PLAIN.image.config, ...PLAIN.image.layers].map(({ digest }) => digest);
const blobUrl = (digest: string | undefined, name = 'library/plain') => `/v2/${name}/blobs/${digest}`;

async function readyz(app: TestApp): Promise<unknown> {
  return JSON.parse((await fetchRaw(`${app.adminUrl}/readyz`)).body.toString());
}

async function metrics(app: TestApp): Promise<string> {
  return (await fetchRaw(`${app.adminUrl}/metrics`)).body.toString();
}

interface Death {
  readonly kill: (hub: FakeHub) => void | Promise<void>;
  readonly revive: (hub: FakeHub) => void | Promise<void>;
}

const byFault = (action: FaultAction): Death => ({
  kill: (hub) => void hub.fault({ do: action }),
  revive: (hub) => hub.clearFaults(),
});

const deaths: readonly (readonly [string, Death])[] = [
  ['is switched off', { kill: (hub) => hub.stop(), revive: (hub) => hub.start() }],
  ['takes requests and never answers', byFault({ hang: true })],
  ['answers 500', byFault({ status: { code: 500 } })],
  ['answers with a page of HTML', byFault({ html: true })],
  ['sends its headers too late', byFault({ delayHeadersMs: 6000 })],
];

describe('while upstream', () => {
  it.each(deaths)(
    '%s, what is cached is served and costs nothing, the rest is an error',
    async (_what, death) => {
      const hub = await filledHub();
      const app = await startTestApp({ hub, flags: { ...alwaysStale, headersTimeout: '2s' } });
      await app.get(PLAIN_LATEST);
      for (const digest of plainBlobs) await app.get(blobUrl(digest));
      await death.kill(hub);
      await app.get(PLAIN_LATEST);
      await outOfReach(app);
      const asked =
        hub.count({ kind: 'manifest' }) + hub.count({ kind: 'blob' }) + hub.count({ kind: 'token' });
      for (let i = 0; i < 10; i++) {
        const answer = await app.get(PLAIN_LATEST);
        expect(answer.status).toBe(200);
        expect(answer.header('warning')).toMatch(/^299 - ".*unreachable since .*last confirmed/);
        expect((await app.get(blobUrl(plainLayer?.digest))).status).toBe(200);
        expect((await app.get('/v2/')).status).toBe(200);
        const missing = await app.get(UNCACHED);
        expect(missing.status).toBe(503);
        expect(missing.body.toString()).toContain('unreachable since');
        const blob = await app.get(blobUrl(GOLANG.image.root.digest));
        expect(blob.status).toBe(404);
        expect(blob.header('cache-control')).toBe('no-store');
      }
      const askedNow =
        hub.count({ kind: 'manifest' }) + hub.count({ kind: 'blob' }) + hub.count({ kind: 'token' });
      expect(askedNow).toBe(asked);
      const text = await metrics(app);
      expect(text).toMatch(
        /pierhead_upstream_breaker_state\{upstream="docker.io",kind="registry",host="127.0.0.1:\d+"\} [12]/,
      );
      expect(text).toContain('pierhead_upstream_state{upstream="docker.io",state="down"} 1\n');
      expect(text).toMatch(/pierhead_upstream_requests_total\{[^}]*outcome="spared"\} [1-9]/);
      expect(app.log.some(({ msg }) => msg === 'upstream unreachable')).toBe(true);

      await death.revive(hub);
      // Nobody asks for anything of it meanwhile.
      await inReach(app);
      expect((await app.get(PLAIN_LATEST)).header('warning')).toBeUndefined();
      expect((await app.get(LATEST)).status).toBe(200);
      expect(app.log.some(({ msg }) => msg === 'upstream reachable again')).toBe(true);
    },
  );

  it('was never in reach, the server starts, and asks it nothing by itself', async () => {
    const sockets: Socket[] = [];
    const hole = createServer((socket) => void sockets.push(socket.on('error', () => socket.destroy())));
    await new Promise<void>((resolve) => void hole.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      hole.close();
    });
    const app = await startTestApp({ hub: `http://127.0.0.1:${(hole.address() as AddressInfo).port}` });
    expect((await app.get('/v2/')).status).toBe(200);
    expect(await readyz(app)).toEqual({ status: 'ready' });
    expect(sockets).toEqual([]);
  });

  it('says why something is not to be had to those who see no body, too', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await hub.stop();
    const head = await app.head(LATEST);
    expect(head.status).toBe(503);
    expect(head.header('warning')).toMatch(/^299 - ".*connection refused by 127\.0\.0\.1:\d+.*"$/);
    expect(head.header('pierhead-error')).toContain('connection refused by');
    const blob = await app.get(blobUrl(GOLANG.image.root.digest));
    expect([blob.status, blob.header('warning')]).toEqual([404, expect.stringMatching(/^299 - /)]);
    // What is the client's own mistake is no outage.
    const mistake = await app.get('/v2/library/golang/manifests/sha256:12');
    expect([mistake.status, mistake.header('pierhead-error')]).toEqual([400, undefined]);
  });

  it('is slow at every step, an answer begins before clients give up', async () => {
    const hub = await filledHub();
    const env = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const app = await startTestApp({ hub, env });
    // First it is asked whether everybody may see the repository, then for the manifest.
    hub.fault({ match: { kind: 'manifest' }, after: 1, do: { delayHeadersMs: 6000 } });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('no answer from docker.io within 9.5 s');
  });

  it('does not begin a blob whose size is known, its headers are sent before clients give up', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { headersTimeout: '30s' } });
    await app.get(PLAIN_LATEST);
    if (plainLayer === undefined) throw new Error('the image has a layer');
    hub.fault({ match: { kind: 'blob' }, do: { delayHeadersMs: 11_000 } });
    const answer = await app.get(`/v2/library/plain/blobs/${plainLayer.digest}`);
    expect([answer.status, answer.bodyBytes]).toEqual([200, plainLayer.size]);
  });
});

describe('a tag that moved', () => {
  it('is served as it was before clients give up, however slow each step to the new manifest is', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const start = Date.now();
    let now = start;
    const env = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const app = await startTestApp({ hub, env, now: () => now });
    await app.get(LATEST);
    // A day later it is to be asked again who may see the repository, then what the tag names, then for that.
    now = start + 25 * 60 * 60 * 1000;
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { delayHeadersMs: 1800 } });
    hub.fault({ match: { kind: 'manifest', method: 'GET' }, do: { holdHeaders: true } });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('docker-content-digest')).toBe(GOLANG.image.root.digest);
    expect(answer.header('warning')).toContain(
      `docker.io has moved the tag to ${renewed.root.digest}, which is still being fetched`,
    );
  });
});

describe('while the token service is away', () => {
  it('what its tokens still open goes on, and readyz says so', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    await app.get(LATEST);
    hub.fault({ match: { host: 'token' }, do: { hangUp: 'rst' } });
    expect((await app.get(PLAIN_LATEST)).status).toBe(503);
    await outOfReach(app);
    const answer = await app.get(LATEST);
    expect(answer.header('cache-status')).toBe('pierhead; fwd=stale; fwd-status=200');
    expect((await app.get(PLAIN_LATEST)).body.toString()).toContain('the token service at');
    // A manifest that is cached, and whose blobs could be had with the token that is there.
    const [child] = GOLANG.image.images.values();
    const target = `/v2/library/golang/manifests/${child?.root.digest}`;
    expect((await app.get(target)).status).toBe(200);
    expect((await app.get(target)).status).toBe(200);
  });
});

describe('an image without its blobs', () => {
  /** Manifests are cached, blobs are not. */
  async function withoutBlobs(flags: Record<string, string | boolean> = {}) {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { ...alwaysStale, ...flags } });
    await app.get(LATEST);
    for (const { digest } of GOLANG.image.manifests) await app.get(`/v2/library/golang/manifests/${digest}`);
    await app.get(PLAIN_LATEST);
    return { hub, app };
  }

  it('is not handed out while upstream is known to be away, and names what is missing', async () => {
    const { hub, app } = await withoutBlobs();
    await hub.stop();
    await app.get(PLAIN_LATEST);
    await outOfReach(app);
    for (const target of [PLAIN_LATEST, `/v2/library/plain/manifests/${PLAIN.image.root.digest}`]) {
      const answer = await app.get(target);
      expect(answer.status).toBe(503);
      for (const digest of plainBlobs) expect(answer.body.toString()).toContain(digest);
      expect((await app.head(target)).status).toBe(200);
    }
    await hub.start();
    await inReach(app);
    expect((await app.get(PLAIN_LATEST)).status).toBe(200);
  });

  it.each(['application/octet-stream', 'text/html', ''])(
    'is not handed out then either if its config is of the type %j, as Docker 1.10 pushed such',
    async (configType) => {
      const hub = await filledHub();
      const old = image({ mediaTypes: 'docker', configType });
      hub.add({ repository: 'library/plain', tags: ['latest'], image: old });
      const app = await startTestApp({ hub, flags: alwaysStale });
      expect((await app.get(PLAIN_LATEST)).status).toBe(200);
      await hub.stop();
      await app.get(PLAIN_LATEST);
      await outOfReach(app);
      const answer = await app.get(PLAIN_LATEST);
      expect([answer.status, answer.body.toString()]).toEqual([
        503,
        expect.stringContaining(old.config.digest),
      ]);
    },
  );

  it('is told from lists and attestations, which are', async () => {
    const { hub, app } = await withoutBlobs();
    await hub.stop();
    await app.get(LATEST);
    await outOfReach(app);
    expect((await app.get(LATEST)).status).toBe(200);
    const statuses = async (manifests: readonly { readonly digest: string }[]) =>
      Promise.all(
        manifests.map(async ({ digest }) => (await app.get(`/v2/library/golang/manifests/${digest}`)).status),
      );
    const { attestations, images } = GOLANG.image;
    expect(attestations.length).toBeGreaterThan(0);
    expect(await statuses(attestations)).toEqual(attestations.map(() => 200));
    const roots = [...images.values()].map(({ root }) => root);
    expect(await statuses(roots)).toEqual(roots.map(() => 503));
    // A client that takes no lists gets the image by the tag, and would get it incomplete.
    const accept = {
      headers: [['Accept', GOLANG.image.images.get('linux/amd64')?.root.mediaType ?? '']],
    } as const;
    expect((await app.get(LATEST, accept)).status).toBe(503);
  });

  it('is handed out while a part of it is stored and the rest on its way', async () => {
    const { hub, app } = await withoutBlobs();
    await app.get(blobUrl(PLAIN.image.config.digest));
    const held = hub.holdBlob(plainLayer?.digest ?? PLAIN.image.config.digest, 1);
    const filling = app.begin(blobUrl(plainLayer?.digest));
    await held.reached;
    const fault = hub.fault({ match: { host: 'registry' }, do: { hangUp: 'rst' } });
    await app.get(PLAIN_LATEST);
    await outOfReach(app);
    expect((await app.get(PLAIN_LATEST)).status).toBe(200);
    fault.remove();
    held.release();
    expect((await filling.finished()).complete).toBe(true);
  });

  it('is handed out if only foreign layers are missing', async () => {
    const hub = await filledHub();
    const windows = image({
      platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' },
      foreignLayers: [
        {
          mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
          digest: GOLANG.image.root.digest,
          size: 1000,
          urls: ['https://mcr.microsoft.com/v2/windows/blobs/base'],
        },
      ],
    });
    hub.add({ repository: 'library/windows', tags: ['latest'], image: windows });
    const app = await startTestApp({ hub, flags: alwaysStale });
    const target = '/v2/library/windows/manifests/latest';
    await app.get(target);
    for (const { digest } of windows.blobs) await app.get(blobUrl(digest, 'library/windows'));
    await hub.stop();
    await app.get(target);
    await outOfReach(app);
    expect((await app.get(target)).status).toBe(200);
  });

  it('is not handed out while the blob host alone is away', async () => {
    const { hub, app } = await withoutBlobs();
    await app.get(blobUrl(PLAIN.image.config.digest));
    const fault = hub.fault({ match: { host: 'blobs' }, do: { hangUp: 'rst' } });
    expect((await app.get(blobUrl(plainLayer?.digest))).status).toBe(404);
    await outOfReach(app);
    const answer = await app.get(PLAIN_LATEST);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain(plainLayer?.digest);
    expect(answer.body.toString()).not.toContain(PLAIN.image.config.digest);
    // Manifests go on, and so does the check of the tag.
    expect((await app.head(PLAIN_LATEST)).header('cache-status')).toContain('fwd-status=200');
    fault.remove();
    await eventually(async () => (await app.get(PLAIN_LATEST)).status === 200, 'the recovery to be known');
  });

  it('is not handed out while upstream limits our requests, which stops HEADs too', async () => {
    const { hub, app } = await withoutBlobs();
    hub.fault({ match: { host: 'registry' }, times: 1, do: { abuseLimit: { retryAfterSeconds: 3600 } } });
    await app.get(PLAIN_LATEST);
    const asked = hub.requests.length;
    const answer = await app.get(PLAIN_LATEST);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('limits requests of this server until');
    const head = await app.head(PLAIN_LATEST);
    expect(head.status).toBe(200);
    expect(head.header('warning')).toContain('limits requests of this server');
    expect((await app.get(UNCACHED)).status).toBe(503);
    expect((await app.get(blobUrl(plainLayer?.digest))).status).toBe(404);
    expect(hub.requests).toHaveLength(asked);
    expect(await readyz(app)).toEqual({ status: 'degraded', degraded: ['docker.io'] });
  });

  it('is not handed out offline, and upstream is never dialled', async () => {
    const { hub, app: first } = await withoutBlobs();
    await first.stop();
    hub.reset();
    const app = await startTestApp({ hub, dataDir: first.dataDir, flags: { offline: true, ...alwaysStale } });
    const answer = await app.get(PLAIN_LATEST);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('offline');
    expect(answer.body.toString()).toContain(plainLayer?.digest);
    // It is as the settings want it.
    expect(await readyz(app)).toEqual({ status: 'ready' });
    expect((await app.head(PLAIN_LATEST)).status).toBe(200);
    expect((await app.get(UNCACHED)).body.toString()).toMatch(/other:latest is not cached.*offline/);
    const blob = await app.get(blobUrl(plainLayer?.digest));
    expect(blob.status).toBe(404);
    expect(blob.body.toString()).toContain('offline');
    expect(await metrics(app)).toContain('pierhead_upstream_state{upstream="docker.io",state="offline"} 1\n');
    expect(hub.requests).toEqual([]);
  });
});

describe('in strict mode', () => {
  it('what an outage hides is a 503, and a 403 to a Docker Engine that would repeat it for long', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { failMode: 'strict' } });
    await hub.stop();
    for (const target of [LATEST, blobUrl(plainLayer?.digest)]) {
      expect((await app.get(target)).status, target).toBe(503);
      expect((await app.get(target, CONTAINERD_STORE)).status, target).toBe(503);
      const denied = await app.get(target, DOCKER);
      expect(denied.status, target).toBe(403);
      expect(denied.body.toString()).toContain('"DENIED"');
      expect(denied.body.toString()).toContain('connection refused');
    }
  });

  it('what upstream says does not exist stays a 404', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { failMode: 'strict' } });
    expect((await app.get(UNCACHED, DOCKER)).status).toBe(404);
    expect((await app.get(blobUrl(GOLANG.image.root.digest), DOCKER)).status).toBe(404);
  });

  it('can be meant for the clients of a network, of whose rules the first that fits counts', async () => {
    const hub = await filledHub();
    const config = join(await testFolder(), 'pierhead.yaml');
    const start = async (rules: string) => {
      await writeFile(config, `clients:\n${rules}`);
      return startTestApp({ hub, flags: { config } });
    };
    const strict = '- { network: 127.0.0.1, failMode: strict }\n';
    const app = await start(`- { network: 10.0.0.0/8, failMode: fallthrough }\n${strict}`);
    const overruled = await start(`- { network: 127.0.0.0/8, failMode: fallthrough }\n${strict}`);
    const empty = await start(`- { network: 127.0.0.0/8 }\n${strict}`);
    await hub.stop();
    expect((await app.get(blobUrl(plainLayer?.digest))).status).toBe(503);
    expect((await overruled.get(blobUrl(plainLayer?.digest))).status).toBe(404);
    expect((await empty.get(blobUrl(plainLayer?.digest))).status).toBe(404);
  });
});

describe('a mirror behind a mirror', () => {
  it('remembers no absence that was not to be remembered, and passes the word on', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    const fault = hub.fault({
      match: { host: 'registry', kind: 'manifest' },
      do: { status: { code: 404, headers: { 'cache-control': 'no-store' } } },
    });
    for (const answer of [await app.get(LATEST), await app.head(LATEST)]) {
      expect(answer.status).toBe(404);
      expect(answer.header('cache-control')).toBe('no-store');
    }
    fault.remove();
    expect((await app.get(LATEST)).status).toBe(200);
  });

  it('serves a tag that it has, stale, when the other one cannot tell', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: alwaysStale });
    await app.get(LATEST);
    hub.fault({
      match: { host: 'registry', kind: 'manifest' },
      do: { status: { code: 404, headers: { 'cache-control': 'no-store' } } },
    });
    expect((await app.get(LATEST)).header('cache-status')).toContain('stale-if-error');
    expect((await app.get(LATEST)).status).toBe(200);
  });

  it('gets blobs once the first one can have them again', async () => {
    const hub = await filledHub();
    const inner = await startTestApp({ hub, flags: alwaysStale });
    const outer = await startTestApp({ hub: inner.url, flags: alwaysStale });
    await outer.get(PLAIN_LATEST);
    await hub.stop();
    const missing = await outer.get(blobUrl(plainLayer?.digest));
    expect(missing.status).toBe(404);
    expect(missing.header('cache-control')).toBe('no-store');
    await hub.start();
    await eventually(
      async () => (await outer.get(blobUrl(plainLayer?.digest))).status === 200,
      'the blob to come through both',
    );
    expect(served(hub, { host: 'blobs', kind: 'blob' })).toBe(1);
  });
});
