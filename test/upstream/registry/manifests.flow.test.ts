import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../../src/oci/manifest.ts';
import { UPSTREAM_ACCEPT } from '../../../src/oci/media-types.ts';
import { GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { ANYBODY, causeOf, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const { root } = GOLANG.image;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const BY_DIGEST = { kind: 'digest', digest: root.digest } as const;

describe('a manifest', () => {
  test('is described by a HEAD, by tag and by digest', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const { digest, mediaType, bytes } = root;
    for (const reference of [LATEST, BY_DIGEST]) {
      const outcome = await upstream.headManifest(repository, reference, ANYBODY);
      expect(valueOf(outcome)).toEqual({ digest, mediaType, size: bytes.length });
    }
    expect(hub.count({ kind: 'manifest', method: 'GET' })).toBe(0);
  });

  test('comes verbatim by a GET, with its type and its digest', async () => {
    const { upstream, receivedBytes } = await hubAndUpstream();
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(valueOf(outcome)).toEqual(root);
    expect(receivedBytes()).toBe(root.bytes.length);
  });

  test('is asked for with every type accepted, without encodings, under our own name', async () => {
    const { hub, upstream } = await hubAndUpstream();
    await upstream.getManifest(repository, LATEST, ANYBODY);
    const request = hub.requests.findLast(({ kind }) => kind === 'manifest');
    expect(request?.headers).toMatchObject({
      accept: UPSTREAM_ACCEPT,
      'accept-encoding': 'identity',
      'user-agent': 'pierhead/0.0.0-test',
    });
  });

  test('comes as it is under a label of an encoding that it does not have', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: { kind: 'manifest' }, do: { contentEncoding: 'gzip' } });
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(valueOf(outcome).bytes).toEqual(root.bytes);
  });

  test('that does not exist is not found, and whether that may be remembered is told', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const reference = { kind: 'tag', tag: 'nothing' } as const;
    expect(await upstream.getManifest(repository, reference, ANYBODY)).toEqual({
      kind: 'not-found',
      noStore: false,
    });
    // What this repository does not find by HEAD counts once it has found something.
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    const headers = { 'cache-control': 'private, no-store' };
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 404, headers } } });
    const absent = { kind: 'not-found', noStore: true };
    expect(await upstream.headManifest(repository, reference, ANYBODY)).toEqual(absent);
    expect(await upstream.getManifest(repository, reference, ANYBODY)).toEqual(absent);
  });

  test('is there but not described when HEAD is not allowed or tells no digest', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { headMethodNotAllowed: true } });
    const refused = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(refused).toEqual({ kind: 'ok', value: undefined });
    fault.remove();
    hub.fault({ match: { kind: 'manifest' }, do: { noDigestHeader: true } });
    const silent = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(silent).toEqual({ kind: 'ok', value: undefined });
    const { digest } = valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
    expect(digest).toBeUndefined();
  });

  test('has no digest when the header does not hold one', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const headers = {
      'content-type': 'application/json; charset=utf-8',
      'docker-content-digest': 'sha256:xyz',
    };
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 200, body: '{}', headers } } });
    const manifest = valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
    expect(manifest).toEqual({ mediaType: 'application/json', bytes: Buffer.from('{}') });
  });

  test('may have 4 MiB and not a byte more, whether its length is announced or not', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const most = Buffer.alloc(MAX_MANIFEST_BYTES, ' ');
    hub.addManifest(repository, { digest: digestOf(most), mediaType: root.mediaType, bytes: most }, ['most']);
    const outcome = await upstream.getManifest(repository, { kind: 'tag', tag: 'most' }, ANYBODY);
    expect(valueOf(outcome).bytes.equals(most)).toBe(true);

    const more = Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ');
    hub.addManifest(repository, { digest: digestOf(more), mediaType: root.mediaType, bytes: more }, ['more']);
    const tooLong = `not-a-registry: ${hub.host} sent more than 4194304 bytes`;
    const announced = await upstream.getManifest(repository, { kind: 'tag', tag: 'more' }, ANYBODY);
    expect(causeOf(announced)).toBe(tooLong);
    hub.fault({ match: { kind: 'manifest' }, do: { hugeBody: 64 * 1024 * 1024 } });
    const endless = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(causeOf(endless)).toBe(tooLong);
  });

  test('is not taken for whole when the connection ends before its Content-Length', async () => {
    const { hub, upstream } = await hubAndUpstream();
    for (const cutBy of ['fin', 'rst'] as const) {
      const fault = hub.fault({ match: { kind: 'manifest' }, do: { cutAfterBytes: 100, cutBy } });
      const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
      expect(causeOf(outcome)).toBe(`unreachable: ${hub.host} broke off its response`);
      fault.remove();
    }
  });

  test('is not a page of HTML', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: { kind: 'manifest' }, do: { html: true } });
    const page = `not-a-registry: ${hub.host} answered with a page of HTML`;
    expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toContain(page);
    expect(causeOf(await upstream.headManifest(repository, LATEST, ANYBODY))).toContain(page);
  });

  test('tells the observer what was asked, what came of it, and the state of the pull limit', async () => {
    const pulls = { limit: 100, remaining: 20, windowSeconds: 21_600 };
    const limits: unknown[] = [];
    const { upstream, events } = await hubAndUpstream(
      { pulls },
      {},
      { pullLimit: ({ state }) => limits.push(state.remaining) },
    );
    await upstream.headManifest(PLAIN.repository, LATEST, ANYBODY);
    await upstream.getManifest(PLAIN.repository, { kind: 'tag', tag: 'nothing' }, ANYBODY);
    expect(events.map(({ upstream: name, kind, method, outcome }) => [name, kind, method, outcome])).toEqual([
      ['docker.io', 'token', 'GET', 'ok'],
      ['docker.io', 'manifest', 'HEAD', 'ok'],
      ['docker.io', 'manifest', 'GET', 'not-found'],
    ]);
    expect(limits.at(-1)).toBe(20);
  });
});
