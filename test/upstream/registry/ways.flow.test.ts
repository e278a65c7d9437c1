import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { referrersTag } from '../../../src/oci/referrers.ts';
import type { FaultAction } from '../../fake/faults.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { matches } from '../../fake/log.ts';
import { image, multiPlatform, storedManifest } from '../../fixtures/images.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { eventually } from '../../support/wait.ts';
import {
  ANYBODY,
  CAROL,
  hubAndUpstream,
  readBody,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const HEADS = { kind: 'manifest', method: 'HEAD', host: 'registry' } as const;
const GETS = { kind: 'manifest', method: 'GET', host: 'registry' } as const;
const REFERRERS = { kind: 'referrers', host: 'registry' } as const;
const TAGS = { kind: 'tags', host: 'registry' } as const;
const moved = multiPlatform({ message: 'moved' });

/** A registry, or a proxy before one, that knows no HEAD of manifests. */
async function hubWithoutHeads(code: number): Promise<FakeHub> {
  const hub = await filledHub();
  hub.fault({ match: HEADS, do: { status: { code } } });
  return hub;
}

describe.each([400, 404, 405, 501])('an upstream that says %i to every HEAD of a manifest', (code) => {
  it('is asked by GET in place of a cold HEAD', async () => {
    const app = await startTestApp({ hub: await hubWithoutHeads(code) });
    const head = await app.head(LATEST);
    expect([head.status, head.header('docker-content-digest')]).toEqual([200, GOLANG.image.root.digest]);
  });

  it('confirms a manifest by one GET', async () => {
    const hub = await hubWithoutHeads(code);
    const { upstream } = watchedUpstream(hub.url);
    const { digest, bytes } = GOLANG.image.root;
    const confirmed = await upstream.confirmManifest('library/golang', { kind: 'digest', digest }, ANYBODY);
    expect(valueOf(confirmed)).toEqual({ size: bytes.length });
    const gets = hub.requests.filter((request) => matches(request, GETS) && request.status === 200);
    expect(gets).toHaveLength(1);
  });

  it('is seen to move a tag, at one GET per check', async () => {
    const hub = await hubWithoutHeads(code);
    const app = await startTestApp({ hub, flags: { tagTtl: '0s', readAhead: 'off' } });
    await app.get(LATEST);
    hub.add({ repository: 'library/golang', tags: ['latest'], image: moved });
    const gets = hub.count(GETS);
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(moved.root.digest);
    expect(hub.count(GETS) - gets).toBe(1);
  });

  it('is not asked by HEAD again once a GET has shown that it means nothing', async () => {
    const hub = await hubWithoutHeads(code);
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    for (let i = 0; i < 3; i++) expect((await app.head(LATEST)).status).toBe(200);
    expect(hub.count(HEADS)).toBe(1);
  });

  it('has a tag no more once GET says so', async () => {
    const hub = await hubWithoutHeads(code);
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await app.get(LATEST);
    hub.removeTag('library/golang', 'latest');
    expect((await app.get(LATEST)).status).toBe(404);
  });

  it('makes nothing public that it does not show to anybody', async () => {
    const hub = await filledHub({ users: { carol: 'secret' } });
    const secret = image({ message: 'secret' });
    hub.add({ repository: 'acme/secret', tags: ['latest'], image: secret, readers: ['carol'] });
    hub.fault({ match: HEADS, do: { status: { code } } });
    const env = { PIERHEAD_UPSTREAM_USERNAME: CAROL.username, PIERHEAD_UPSTREAM_PASSWORD: CAROL.password };
    const app = await startTestApp({ hub, env });
    expect((await app.get('/v2/acme/secret/manifests/latest')).status).toBe(404);
    expect((await app.head('/v2/acme/secret/manifests/latest')).status).toBe(404);
    expect((await app.get(LATEST)).status).toBe(200);
  });
});

describe('an upstream whose HEADs find manifests', () => {
  it('is believed that a tag is gone, without a GET', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s', readAhead: 'off' } });
    await app.get(LATEST);
    await app.get(LATEST);
    const gets = hub.count(GETS);
    hub.removeTag('library/golang', 'latest');
    expect((await app.get(LATEST)).status).toBe(404);
    expect(hub.count(GETS)).toBe(gets);
  });

  it('has not lied of a tag that is pushed only after HEAD found none', async () => {
    let now = Date.now();
    const { hub, upstream } = await hubAndUpstream({}, { now: () => now });
    const head = (tag: string) => upstream.headManifest('library/golang', { kind: 'tag', tag }, ANYBODY);
    const push = (tag: string): void => hub.add({ repository: 'library/golang', tags: [tag], image: moved });
    valueOf(await head('latest'));
    const absent = { kind: 'not-found', noStore: false };
    expect([await head('seen'), await head('unseen')]).toEqual([absent, absent]);
    push('seen');
    push('unseen');
    expect(valueOf(await head('seen'))?.digest).toBe(moved.root.digest);
    valueOf(await upstream.getManifest('library/golang', { kind: 'tag', tag: 'seen' }, ANYBODY));
    now += 60_000;
    valueOf(await upstream.getManifest('library/golang', { kind: 'tag', tag: 'unseen' }, ANYBODY));
    const heads = hub.count(HEADS);
    expect(valueOf(await head('latest'))?.digest).toBe(GOLANG.image.root.digest);
    expect(hub.count(HEADS)).toBe(heads + 1);
  });
});

const NO_API: readonly (readonly [what: string, action: FaultAction])[] = [
  ...[400, 404, 405, 406, 501].map((code) => [`says ${code}`, { status: { code } }] as const),
  [
    'sends other JSON',
    { status: { code: 200, body: '{}', headers: { 'content-type': 'application/json' } } },
  ],
  ['sends a page', { html: true }],
];

describe('referrers at an upstream without that API', () => {
  const { digest } = GOLANG.image.root;
  const target = `/v2/library/golang/referrers/${digest}`;

  it.each(NO_API)('are not found if it %s, which sends clients on to the tag', async (_what, action) => {
    const hub = await filledHub();
    hub.fault({ match: REFERRERS, do: action });
    hub.add({ repository: 'library/golang', tags: [referrersTag(digest)], image: moved });
    const app = await startTestApp({ hub });
    for (let i = 0; i < 5; i++) expect((await app.get(target)).status).toBe(404);
    const tag = await app.get(`/v2/library/golang/manifests/${referrersTag(digest)}`);
    expect([tag.status, tag.header('content-type')]).toEqual([200, OCI_INDEX]);
    // Nor is it taken for an outage.
    expect((await app.get('/readyz')).body.toString()).toContain('"ready"');
  });

  it('are not what an image lists itself, where its registry takes the tag for the digest, as GitLab does', async () => {
    const hub = await filledHub({ ways: { dashedDigests: true } });
    const app = await startTestApp({ hub });
    const tag = await app.get(`/v2/library/golang/manifests/${referrersTag(digest)}`);
    expect(tag.header('docker-content-digest')).toBe(digest);
    await hub.stop();
    const answer = await app.get(target);
    expect([answer.status, JSON.parse(answer.body.toString())]).toMatchObject([200, { manifests: [] }]);
    expect(answer.header('warning')).toMatch(/^299 - /);
  });

  it('are told in an outage by the tag, which was fetched when upstream said that it has no such list', async () => {
    const hub = await filledHub();
    hub.fault({ match: REFERRERS, do: { status: { code: 405 } } });
    hub.add({ repository: 'library/golang', tags: [referrersTag(digest)], image: moved });
    const app = await startTestApp({ hub });
    await app.get(LATEST);
    expect((await app.get(target)).status).toBe(404);
    const fetched = `/v2/library/golang/manifests/${moved.root.digest}`;
    await eventually(
      async () => (await app.head(fetched)).header('cache-status') === 'pierhead; hit',
      'what the tag names to be fetched',
    );
    await app.stop();
    const away = await startTestApp({ hub, dataDir: app.dataDir, flags: { offline: true } });
    expect((await away.get(target)).body).toEqual(moved.root.bytes);
  });

  it('are not told apart from an outage by a page that comes for everything: there they are none, with a warning', async () => {
    const hub = await filledHub();
    hub.fault({ match: { host: 'registry' }, do: { html: true } });
    hub.setReferrers('library/golang', digest, []);
    const app = await startTestApp({ hub });
    const answer = await app.get(target);
    expect([answer.status, answer.header('content-type')]).toEqual([200, OCI_INDEX]);
    expect(answer.header('warning')).toMatch(/^299 - /);
  });
});

describe('the tag list of an upstream', () => {
  it('is asked for in a smaller page where a large one is refused, as ECR does', async () => {
    const hub = await filledHub();
    const refusal = { code: 405, body: '{"errors":[{"code":"UNSUPPORTED","message":"maxResults"}]}' };
    hub.fault({ match: TAGS, after: 1, times: 1, do: { status: refusal } });
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/library/golang/tags/list?n=10000');
    expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([
      200,
      { name: 'library/golang', tags: ['1.22', 'latest'] },
    ]);
    expect(hub.requests.filter(({ kind }) => kind === 'tags').map(({ query }) => query.get('n'))).toEqual([
      '10000',
      '10000',
      '1000',
    ]);
  });

  it('goes on where its link says, in whatever words, as quay.io does', async () => {
    const hub = await filledHub();
    const link = '</v2/library/golang/tags/list?next_page=gAAAA%2Bx%3D&n=1>; rel="next"';
    const headers = { 'content-type': 'application/json', link };
    const page = { code: 200, body: '{"name":"library/golang","tags":["a"]}', headers };
    hub.fault({ match: TAGS, after: 1, times: 1, do: { status: page } });
    const app = await startTestApp({ hub });
    const first = await app.get('/v2/library/golang/tags/list?ns=docker.io');
    const [, next = ''] = /^<(.*)>; rel="next"$/.exec(first.header('link') ?? '') ?? [];
    expect(next).toMatch(/^\/v2\/library\/golang\/tags\/list\?.*ns=docker\.io/);
    expect((await app.get(next)).status).toBe(200);
    expect(Object.fromEntries(hub.requests.at(-1)?.query ?? [])).toEqual({ next_page: 'gAAAA+x=', n: '1' });
  });
});

const [LAYER] = PLAIN.image.layers;
const BLOB = `/v2/${PLAIN.repository}/blobs/${LAYER?.digest}`;

describe('an upstream that knows no part of the protocol for blobs', () => {
  it.each([400, 404, 405, 501])('is asked for the first byte where HEAD is answered by %i', async (code) => {
    const hub = await filledHub();
    hub.fault({ match: { kind: 'blob', method: 'HEAD' }, do: { status: { code } } });
    const app = await startTestApp({ hub });
    const head = await app.head(BLOB);
    expect([head.status, head.header('content-length')]).toEqual([200, String(LAYER?.size)]);
    expect((await app.head(`/v2/${PLAIN.repository}/blobs/${moved.root.digest}`)).status).toBe(404);
  });

  it.each([400, 416, 501])('is asked for the whole where a part is refused by %i', async (code) => {
    const { hub, upstream } = await hubAndUpstream({ auth: 'none' });
    hub.fault({ match: { kind: 'blob', host: 'blobs' }, do: { refuseRange: code } });
    const digest = PLAIN.image.config.digest;
    const stream = valueOf(
      await upstream.getBlob(PLAIN.repository, digest, { ...ANYBODY, offset: 10, end: 20 }),
    );
    expect(stream.offset).toBe(0);
    expect((await readBody(stream)).bytes.length).toBe(PLAIN.image.config.size);
  });
});

describe('a manifest that somebody on the way has handled', () => {
  const { digest, bytes } = GOLANG.image.root;
  const BY_DIGEST = `/v2/library/golang/manifests/${digest}`;

  it.each([
    ['gzip', gzipSync(bytes)],
    ['br', brotliCompressSync(bytes)],
    ['gzip', bytes],
  ])('is what it was before it was labelled %s', async (coding, body) => {
    const hub = await filledHub();
    const headers = { 'content-type': OCI_INDEX, 'content-encoding': coding };
    hub.fault({ match: GETS, do: { status: { code: 200, body, headers } } });
    const app = await startTestApp({ hub });
    const answer = await app.get(BY_DIGEST);
    expect([answer.status, answer.header('content-encoding')]).toEqual([200, undefined]);
    expect(answer.body.equals(bytes)).toBe(true);
  });

  it('is none if it grows past what a manifest may be', async () => {
    const hub = await filledHub();
    const body = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const headers = { 'content-type': OCI_INDEX, 'content-encoding': 'gzip' };
    hub.fault({ match: GETS, do: { status: { code: 200, body, headers } } });
    const app = await startTestApp({ hub });
    expect((await app.get(BY_DIGEST)).status).toBe(503);
  });

  it.each(['text/plain; charset=utf-8', 'application/octet-stream', 'application/json', ''])(
    'is an OCI manifest if it looks like one, though it is sent as "%s"',
    async (type) => {
      const hub = await filledHub();
      for (const { root } of [GOLANG.image, PLAIN.image]) {
        const { mediaType: _stated, ...document } = JSON.parse(root.bytes.toString()) as Record<
          string,
          unknown
        >;
        const body = JSON.stringify(document);
        hub.fault({
          match: { ...GETS, reference: root.digest === digest ? 'latest' : '1.0' },
          do: {
            status: { code: 200, body, headers: type === '' ? {} : { 'content-type': type } },
          },
        });
      }
      const app = await startTestApp({ hub, flags: { readAhead: 'off' } });
      expect((await app.get(LATEST)).header('content-type')).toBe(OCI_INDEX);
      expect((await app.get('/v2/library/plain/manifests/1.0')).header('content-type')).toBe(OCI_MANIFEST);
    },
  );
});

describe('a 403 that is a limit', () => {
  it.each<[string, FaultAction['status']]>([
    ['by its text', { code: 403, body: '{"message":"API rate limit exceeded for 192.0.2.1"}' }],
    ['by when to come back', { code: 403, headers: { 'retry-after': '60' } }],
    ['by what is left', { code: 403, headers: { 'x-ratelimit-remaining': '0' } }],
  ])('%s says nothing about the image', async (_what, status) => {
    const { hub, upstream } = await hubAndUpstream({ auth: 'none' });
    hub.fault({ match: GETS, do: status === undefined ? {} : { status } });
    const tag = { kind: 'tag', tag: 'latest' } as const;
    expect(await upstream.getManifest('library/golang', tag, ANYBODY)).toMatchObject({
      kind: 'limited',
      scope: 'abuse',
    });
  });

  it('is a refusal if nothing in it speaks of a limit', async () => {
    const { hub, upstream } = await hubAndUpstream({ auth: 'none' });
    hub.fault({ match: GETS, do: { status: { code: 403, body: '{"errors":[{"code":"DENIED"}]}' } } });
    const tag = { kind: 'tag', tag: 'latest' } as const;
    const outcome = await upstream.getManifest('library/golang', tag, ANYBODY);
    expect(outcome).toEqual({ kind: 'refused', status: 403 });
  });
});

describe('a 429', () => {
  it.each([
    ['1.16676ms', 2],
    ['985.86µs', 1],
    ['12s', 12_000],
  ])('is over when its text says, as that of ghcr.io does: %s', async (wait, retryAfterMs) => {
    const { hub, upstream } = await hubAndUpstream({ auth: 'none' });
    const message = `retry-after: ${wait}, allowed: 44000/minute`;
    const body = JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message }] });
    hub.fault({ match: GETS, do: { status: { code: 429, body } } });
    const outcome = await upstream.getManifest('library/golang', { kind: 'tag', tag: 'latest' }, ANYBODY);
    expect(outcome).toEqual({ kind: 'limited', scope: 'abuse', retryAfterMs });
  });
});

describe('a redirect with UTF-8 in its Location', () => {
  it('leads to what its bytes say', async () => {
    const { hub, upstream } = await hubAndUpstream({ auth: 'none' });
    const location = `${hub.url}/v2/library/golang/manifests/latest?name=Größe`;
    const raw = Buffer.from(`HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: ${location}\r\n\r\n`);
    hub.fault({ match: { ...GETS, reference: '1.22' }, times: 1, do: { raw } });
    const tag = { kind: 'tag', tag: '1.22' } as const;
    expect(valueOf(await upstream.getManifest('library/golang', tag, ANYBODY)).digest).toBe(
      GOLANG.image.root.digest,
    );
    expect(hub.requests.at(-1)?.query.get('name')).toBe('Größe');
  });
});

describe('a manifest', () => {
  const config = GOLANG.image.images.get('linux/amd64')?.config;

  it.each([
    ['whose layers are null', storedManifest(OCI_MANIFEST, { config, layers: null })],
    ['without layers', storedManifest(OCI_MANIFEST, { config })],
    ['that is an index of nothing', storedManifest(OCI_INDEX, { manifests: null })],
    [
      'with an entry by an algorithm of tomorrow',
      storedManifest(OCI_INDEX, { manifests: [{ mediaType: OCI_MANIFEST, digest: 'blake3:YWJj', size: 3 }] }),
    ],
  ])('%s is served as it is', async (_what, manifest) => {
    const hub = await filledHub();
    hub.addManifest('library/odd', manifest, ['latest']);
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/library/odd/manifests/latest');
    expect([answer.status, answer.body]).toEqual([200, manifest.bytes]);
  });

  // Corruption on the way looks the same, and what a client verifies it by is that header.
  it('by tag that is not what its digest header names is not served, nor kept', async () => {
    const hub = await filledHub();
    const fault = hub.fault({ match: GETS, do: { wrongDigestHeader: true } });
    const app = await startTestApp({ hub });
    expect((await app.get(LATEST)).status).toBe(503);
    fault.remove();
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(GOLANG.image.root.digest);
  });
});
