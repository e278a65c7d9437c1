import { describe, expect, test } from 'vitest';
import { GOLANG } from '../../support/filled-hub.ts';
import { ANYBODY, causeOf, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const MANIFEST = { kind: 'manifest' } as const;

describe('a redirect', () => {
  test.each([301, 302, 303, 307, 308])('by %i is followed, by the same method', async (code) => {
    const { hub, upstream } = await hubAndUpstream();
    const location = `/v2/${repository}/manifests/1.22`;
    for (const method of ['GET', 'HEAD']) {
      const match = { ...MANIFEST, method, reference: 'latest' };
      hub.fault({ match, do: { status: { code, headers: { location } } } });
    }
    expect(valueOf(await upstream.getManifest(repository, LATEST, ANYBODY)).digest).toBe(
      GOLANG.image.root.digest,
    );
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    const redirected = hub.requests.filter(({ reference, status }) => reference === '1.22' && status === 200);
    expect(redirected.map(({ method }) => method)).toEqual(['GET', 'HEAD']);
  });

  test('to the same origin keeps Authorization, to another one loses it, and does not get it back', async () => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.reset();
    const manifest = `/v2/${repository}/manifests`;
    const hops = [
      ['latest', `${manifest}/a`],
      ['a', `http://localhost:${new URL(hub.url).port}${manifest}/b`],
      ['b', `${hub.url}${manifest}/c`],
    ] as const;
    for (const [reference, redirectTo] of hops) hub.fault({ match: { reference }, do: { redirectTo } });
    hub.fault({ match: { reference: 'c' }, do: { status: { code: 404 } } });
    expect((await upstream.getManifest(repository, LATEST, ANYBODY)).kind).toBe('not-found');
    const seen = hub.requests.map(({ reference, headers }) => [
      reference,
      headers.authorization !== undefined,
    ]);
    expect(seen).toEqual([
      ['latest', true],
      ['a', true],
      ['b', false],
      ['c', false],
    ]);
  });

  test('is followed five times and no more', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const redirectTo = `/v2/${repository}/manifests/latest`;
    const fault = hub.fault({ match: MANIFEST, times: 5, do: { redirectTo } });
    expect((await upstream.headManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
    fault.remove();
    hub.fault({ match: MANIFEST, times: 6, do: { redirectTo } });
    expect(causeOf(await upstream.headManifest(repository, LATEST, ANYBODY))).toBe(
      `not-a-registry: ${hub.host} redirected more than 5 times`,
    );
  });

  test.each([undefined, 'http://['])('to %j leads nowhere', async (location) => {
    const { hub, upstream } = await hubAndUpstream();
    const headers = location === undefined ? {} : { location };
    hub.fault({ match: MANIFEST, do: { status: { code: 302, headers } } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toBe(`not-a-registry: ${hub.host} redirected without a valid Location`);
  });

  test('to something else than HTTP is not followed', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: MANIFEST, do: { redirectTo: 'file:///etc/passwd' } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toBe(`not-a-registry: ${hub.host} redirected to file:…, which is not https`);
  });

  test('to a login page for people is no manifest', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: { ...MANIFEST, reference: 'latest' }, do: { redirectTo: `${hub.blobsUrl}/portal` } });
    hub.fault({ match: { host: 'blobs' }, do: { html: true } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toContain('answered with a page of HTML');
  });

  test('to a registry that refuses the manifest means that it is refused', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: { ...MANIFEST, reference: 'latest' }, do: { redirectTo: `${hub.blobsUrl}/v2/x` } });
    hub.fault({ match: { host: 'blobs' }, do: { status: { code: 403 } } });
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(outcome).toEqual({ kind: 'refused', status: 403 });
  });
});
