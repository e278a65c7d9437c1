import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { generatedContent } from './content.ts';
import type { FakeHub, FakeHubOptions } from './hub.ts';
import { fetchRaw, rawRequest } from '../support/http.ts';
import { headerLines } from '../support/http-decoder.ts';
import { ask, bearer, errorCode, openBlob, signedUrl } from '../support/hub-client.ts';
import { filledHub, GOLANG, manifestUrl, PLAIN } from '../support/filled-hub.ts';

const { image: golang } = GOLANG;
const { image: plain } = PLAIN;
const index = golang.root;
const REPOSITORY = GOLANG.repository;

describe('manifests', () => {
  test('come verbatim with the headers of Docker Hub, by tag and by digest, by GET and by HEAD', async () => {
    const hub = await filledHub({ pulls: { limit: 100, remaining: 50, windowSeconds: 21_600 } });
    for (const reference of ['latest', '1.22', index.digest]) {
      for (const method of ['HEAD', 'GET']) {
        const answer = await ask(hub, { repository: REPOSITORY, path: `manifests/${reference}`, method });
        expect(answer.status).toBe(200);
        expect(answer.header('content-type')).toBe('application/vnd.oci.image.index.v1+json');
        expect(answer.header('content-length')).toBe(String(index.bytes.length));
        expect(answer.header('docker-content-digest')).toBe(index.digest);
        expect(answer.header('etag')).toBe(`"${index.digest}"`);
        expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
        expect(answer.header('ratelimit-limit')).toBe('100;w=21600');
        expect(answer.header('docker-ratelimit-source')).toBe('192.0.2.1');
        expect(answer.body).toEqual(method === 'GET' ? index.bytes : Buffer.alloc(0));
      }
    }
    expect(hub.pullsRemaining).toBe(47);
  });

  test('of OCI type are not given by digest to a client that does not list their type', async () => {
    const hub = await filledHub();
    const child = golang.images.get('linux/amd64');
    const path = `manifests/${child?.root.digest}`;
    const docker = 'application/vnd.docker.distribution.manifest.v2+json';
    const refused = await ask(hub, { repository: REPOSITORY, path, headers: { Accept: docker } });
    expect([refused.status, errorCode(refused)]).toEqual([404, 'MANIFEST_UNKNOWN']);
    const authorization = await bearer(hub, { repository: REPOSITORY });
    const served = await rawRequest({
      origin: hub.url,
      target: `/v2/${REPOSITORY}/${path}`,
      headers: [
        ['Authorization', authorization],
        ['Accept', docker],
        ['Accept', 'application/vnd.oci.image.manifest.v1+json'],
      ],
    });
    expect(served.body).toEqual(child?.root.bytes);
  });

  test('under a moved tag are new, under a removed tag unknown', async () => {
    const hub = await filledHub();
    hub.addManifest(REPOSITORY, plain.root);
    hub.moveTag(REPOSITORY, 'latest', plain.root.digest);
    hub.removeTag(REPOSITORY, '1.22');
    const moved = await ask(hub, { repository: REPOSITORY, path: 'manifests/latest' });
    expect(moved.header('docker-content-digest')).toBe(plain.root.digest);
    const removed = await ask(hub, { repository: REPOSITORY, path: 'manifests/1.22' });
    expect([removed.status, errorCode(removed)]).toEqual([404, 'MANIFEST_UNKNOWN']);
  });
});

describe('limits', () => {
  test('GETs of manifests use the pull limit up, HEADs, blobs and tags do not', async () => {
    const hub = await filledHub({ pulls: { limit: 10, remaining: 1, windowSeconds: 60 } });
    const get = { repository: REPOSITORY, path: 'manifests/latest' };
    const config = plain.config.digest;
    const last = await ask(hub, get);
    expect([last.status, last.header('ratelimit-remaining')]).toEqual([200, '0;w=60']);
    const refused = await ask(hub, get);
    expect([refused.status, errorCode(refused)]).toEqual([429, 'TOOMANYREQUESTS']);
    expect(refused.header('ratelimit-remaining')).toBe('0;w=60');
    expect((await ask(hub, { ...get, method: 'HEAD' })).status).toBe(200);
    expect((await ask(hub, { ...get, path: 'tags/list' })).status).toBe(200);
    expect((await ask(hub, { repository: 'library/plain', path: `blobs/${config}` })).status).toBe(307);
    hub.setPulls('unlimited');
    const unlimited = await ask(hub, get);
    expect([unlimited.status, unlimited.header('ratelimit-limit')]).toEqual([200, undefined]);
  });
});

describe('blobs', () => {
  const blob = generatedContent({ size: 3_000_001, seed: 1 });
  const { digest } = blob;

  async function blobHub(options: FakeHubOptions = {}): Promise<FakeHub> {
    const hub = await filledHub(options);
    hub.addBlob(REPOSITORY, blob);
    return hub;
  }

  test('are sent by the blob host, to which the registry redirects', async () => {
    const hub = await blobHub();
    const answer = await (await openBlob(hub, { repository: REPOSITORY, digest })).finished();
    expect(answer.status).toBe(200);
    expect(`sha256:${createHash('sha256').update(answer.body).digest('hex')}`).toBe(digest);
    expect(hub.count({ host: 'registry', kind: 'blob' })).toBe(1);
    expect(hub.count({ host: 'blobs', kind: 'blob', reference: digest })).toBe(1);
    expect(hub.bytesSent(digest)).toBe(blob.size);
    expect(hub.violations).toEqual([]);
  });

  test('tell their size to a HEAD at the registry', async () => {
    const hub = await blobHub();
    const head = await ask(hub, { repository: REPOSITORY, path: `blobs/${digest}`, method: 'HEAD' });
    expect([head.status, head.header('content-length')]).toEqual([200, String(blob.size)]);
  });

  test('are had by a signed URL only as it was signed', async () => {
    let nowMs = 1_700_000_000_000;
    const hub = await blobHub({ urlLifetimeSeconds: 10, nowMs: () => nowMs });
    const url = await signedUrl(hub, REPOSITORY, digest);
    expect((await fetchRaw(url.replace(/sig=..../, 'sig=gggg'))).status).toBe(403);
    expect((await fetchRaw(url.replace(/expires=\d/, 'expires=9'))).status).toBe(403);
    expect((await fetchRaw(url.replace(/\?.*/, ''))).status).toBe(403);
    expect((await fetchRaw(url.replace(digest.slice(7), '0'.repeat(64)))).status).toBe(403);
    expect((await fetchRaw(url, { method: 'HEAD' })).status).toBe(403);
    expect((await fetchRaw(url)).status).toBe(200);
    nowMs += 10_000;
    expect((await fetchRaw(url)).status).toBe(403);
  });

  test('are refused to a client that takes its token to the blob host', async () => {
    const hub = await blobHub();
    const url = await signedUrl(hub, REPOSITORY, digest);
    const answer = await fetchRaw(url, { headers: { Authorization: 'Bearer x' } });
    expect(answer.status).toBe(400);
    expect(hub.violations.map(({ reason }) => reason)).toEqual(['Authorization sent to the blob host']);
  });

  test.each([
    ['bytes=0-0', 0, 1],
    ['bytes=1048570-1048999', 1_048_570, 430],
    ['bytes=3000000-', 3_000_000, 1],
    ['bytes=2999000-9999999', 2_999_000, 1001],
    ['bytes=-5', 2_999_996, 5],
  ])('answer %s with that part', async (range, offset, length) => {
    const hub = await blobHub();
    const answer = await (await openBlob(hub, { repository: REPOSITORY, digest, range })).finished();
    expect(answer.status).toBe(206);
    expect(answer.header('content-range')).toBe(`bytes ${offset}-${offset + length - 1}/${blob.size}`);
    expect(answer.body.equals(blob.expectedBytes(offset, length))).toBe(true);
  });

  test('answer a range beyond their end with 416', async () => {
    const hub = await blobHub();
    const answer = await (
      await openBlob(hub, { repository: REPOSITORY, digest, range: 'bytes=3000001-' })
    ).finished();
    expect([answer.status, answer.header('content-range')]).toEqual([416, 'bytes */3000001']);
  });

  test('come from the registry itself when it does not redirect', async () => {
    const hub = await blobHub({ redirectBlobs: false });
    const answer = await ask(hub, {
      repository: REPOSITORY,
      path: `blobs/${digest}`,
      headers: { Range: 'bytes=10-19' },
    });
    expect([answer.status, answer.body]).toEqual([206, blob.expectedBytes(10, 10)]);
    expect(answer.header('docker-content-digest')).toBe(digest);
  });

  test('of another repository are unknown', async () => {
    const hub = await blobHub();
    const answer = await ask(hub, { repository: 'library/plain', path: `blobs/${digest}` });
    expect([answer.status, errorCode(answer)]).toEqual([404, 'BLOB_UNKNOWN']);
  });
});

describe('the rest of the registry', () => {
  test('tags come in order, page by page', async () => {
    const hub = await filledHub();
    for (const tag of ['b', 'a', 'c']) hub.moveTag(REPOSITORY, tag, index.digest);
    const first = await ask(hub, { repository: REPOSITORY, path: 'tags/list?n=3' });
    expect(JSON.parse(first.body.toString())).toEqual({ name: REPOSITORY, tags: ['1.22', 'a', 'b'] });
    expect(first.header('link')).toBe('</v2/library/golang/tags/list?last=b&n=3>; rel="next"');
    const second = await ask(hub, { repository: REPOSITORY, path: 'tags/list?last=b&n=3' });
    expect(JSON.parse(second.body.toString())).toEqual({ name: REPOSITORY, tags: ['c', 'latest'] });
    expect(second.header('link')).toBeUndefined();
  });

  test('referrers are not supported', async () => {
    const hub = await filledHub();
    const answer = await ask(hub, { repository: REPOSITORY, path: `referrers/${index.digest}` });
    expect(answer.status).toBe(404);
  });

  test('ns is a word for mirrors, so a request with it is a violation', async () => {
    const hub = await filledHub();
    await ask(hub, { repository: REPOSITORY, path: 'manifests/latest?ns=docker.io' });
    expect(hub.violations).toHaveLength(1);
    expect(hub.violations[0]?.request.path).toBe('/v2/library/golang/manifests/latest');
  });
});

describe('the log', () => {
  test('holds every request with its headers as sent, and can be waited on', async () => {
    const hub = await filledHub();
    const seen = hub.waitFor(({ kind, closed }) => kind === 'manifest' && closed, 'a manifest');
    await ask(hub, {
      repository: REPOSITORY,
      path: 'manifests/latest',
      headers: { Accept: 'a/b', accept: 'c/d' },
    });
    const request = await seen;
    expect(request).toMatchObject({ host: 'registry', method: 'GET', status: 200, reference: 'latest' });
    expect(request.bytesSent).toBe(index.bytes.length);
    expect(request.headers.accept).toBe('a/b, c/d');
    expect(request.rawHeaders.filter((text) => /accept/i.test(text))).toEqual(['Accept', 'accept']);
    expect(hub.count({ kind: 'token', repository: REPOSITORY })).toBe(1);
    hub.reset();
    expect(hub.count()).toBe(0);
  });
});

describe('switching off', () => {
  test('frees the ports, and switching on takes the same ones', async () => {
    const hub = await filledHub();
    const { url } = hub;
    const headers = { Authorization: await bearer(hub, { repository: REPOSITORY }) };
    await hub.stop();
    for (const origin of [url, hub.tokenUrl, hub.blobsUrl]) {
      await expect(fetchRaw(`${origin}/v2/`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    }
    await hub.start();
    expect(hub.url).toBe(url);
    const answer = await fetchRaw(manifestUrl(hub), { headers });
    expect(headerLines(answer, 'docker-content-digest')).toEqual([index.digest]);
  });

  test('frees ports that no system hands out by itself, so that nobody else is taken for it', async () => {
    const hub = await filledHub();
    for (const origin of [hub.url, hub.tokenUrl, hub.blobsUrl]) {
      expect(Number(new URL(origin).port)).toBeLessThan(32_768);
    }
  });

  test('ends transfers that are running', async () => {
    const hub = await filledHub();
    const blob = generatedContent({ size: 1_000_000, seed: 2 });
    hub.addBlob(REPOSITORY, blob);
    const gate = hub.holdBlob(blob.digest, 1000);
    const transfer = await openBlob(hub, { repository: REPOSITORY, digest: blob.digest });
    await gate.reached;
    await transfer.bodyReached(1000);
    await hub.stop();
    expect(await transfer.finished()).toMatchObject({ complete: false, bodyBytes: 1000 });
  });
});
