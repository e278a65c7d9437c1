import { describe, expect, test } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import {
  ANYBODY,
  CAROL,
  causeOf,
  CONFIGURED,
  hubAndUpstream,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';
import { eventually } from '../../support/wait.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const MANIFEST = { kind: 'manifest' } as const;

/** A registry that is no more than redirects to another one, which challenges for itself (registry.k8s.io, lscr.io). */
async function doorAndHouse() {
  const door = await hubAndUpstream({ auth: 'none' }, { credentials: CAROL });
  const house = await filledHub();
  const redirect = (path: string): void => {
    door.hub.fault({
      match: MANIFEST,
      do: { status: { code: 307, headers: { location: house.url + path } } },
    });
  };
  return { ...door, house, redirect };
}

describe('a registry that redirects to another one', () => {
  test('is followed with a token that the other one asks for, got anonymously', async () => {
    const { upstream, house, redirect } = await doorAndHouse();
    redirect(`/v2/${repository}/manifests/latest`);
    const manifest = valueOf(await upstream.getManifest(repository, LATEST, CONFIGURED));
    expect(manifest.digest).toBe(GOLANG.image.root.digest);
    const identities = house.requests.filter(({ status }) => status === 200).map(({ identity }) => identity);
    expect(new Set(identities)).toEqual(new Set(['anonymous']));
    expect(house.requests.filter(({ headers }) => headers.authorization?.startsWith('Basic'))).toEqual([]);
  });

  test('may know the repository by another name, for which the other one asks', async () => {
    const { upstream, house, redirect } = await doorAndHouse();
    redirect('/v2/library/plain/manifests/latest');
    valueOf(await upstream.headManifest('images/plain', LATEST, CONFIGURED));
    const scopes = house.requests
      .filter(({ kind }) => kind === 'token')
      .map(({ query }) => query.get('scope'));
    expect(scopes).toEqual(['repository:library/plain:pull']);
  });

  test('costs the challenge once, and a new token when the other one no longer takes it', async () => {
    const { upstream, house, redirect } = await doorAndHouse();
    redirect(`/v2/${repository}/manifests/latest`);
    const statuses = () =>
      house.requests.filter(({ kind }) => kind === 'manifest').map(({ status }) => status);
    for (let i = 0; i < 3; i++) valueOf(await upstream.headManifest(repository, LATEST, CONFIGURED));
    expect(statuses()).toEqual([401, 200, 200, 200]);
    house.expireTokens();
    valueOf(await upstream.headManifest(repository, LATEST, CONFIGURED));
    expect(statuses()).toEqual([401, 200, 200, 200, 401, 200]);
  });

  test('is refused what the other one refuses under a fresh token', async () => {
    const { upstream, house, redirect } = await doorAndHouse();
    redirect('/v2/carol/private/manifests/latest');
    const outcome = await upstream.headManifest('carol/private', LATEST, CONFIGURED);
    expect(outcome).toEqual({ kind: 'refused', status: 401 });
    expect(house.count({ kind: 'manifest' })).toBe(2);
  });

  test('leaves no connection open where the other one asks for a token that nobody issues', async () => {
    const { upstream, house, redirect } = await doorAndHouse();
    redirect(`/v2/${repository}/manifests/latest`);
    const headers = { 'www-authenticate': 'Bearer service="nobody"' };
    house.fault({ match: MANIFEST, do: { status: { code: 401, body: Buffer.alloc(8_000_000), headers } } });
    expect(causeOf(await upstream.headManifest(repository, LATEST, CONFIGURED))).toMatch(/^not-a-registry/);
    expect(causeOf(await upstream.getManifest(repository, LATEST, CONFIGURED))).toMatch(/^not-a-registry/);
    await eventually(() => house.requests.every(({ closed }) => closed), 'the connections to end');
  });
});

describe('credentials', () => {
  test('do not go to a token service at another host: the error names the setting and the host', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    challengeFor(hub, serviceAt('localhost', hub));
    expect(causeOf(await upstream.headManifest('carol/private', LATEST, CONFIGURED))).toBe(
      `credentials: ${hub.host} names a token service at another host, ${new URL(serviceAt('localhost', hub)).host}; to send it the credentials, add localhost to upstreams.docker.io.credentialHosts`,
    );
    expect(hub.count({ host: 'token' })).toBe(0);
  });

  test('do not keep what is public from being had from there, anonymously', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    challengeFor(hub, serviceAt('localhost', hub), 1);
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    expect(hub.requests.map(({ identity }) => identity)).not.toContain('carol');
  });

  test.each([
    ['the host alone', () => 'localhost'],
    ['the host with its port', (hub: FakeHub) => new URL(serviceAt('localhost', hub)).host],
  ])('go to one that the settings name by %s', async (_by, named) => {
    const hub = await filledHub();
    const { upstream, hub: registry } = await hubAndUpstream(
      {},
      { credentials: CAROL, credentialHosts: [named(hub)] },
    );
    challengeFor(registry, serviceAt('localhost', hub));
    await upstream.headManifest('carol/private', LATEST, CONFIGURED);
    expect(hub.requests.map(({ identity }) => identity)).toContain('carol');
  });

  test('do not go to another port of a host that the settings name with its port', async () => {
    const { hub, upstream } = await hubAndUpstream(
      {},
      { credentials: CAROL, credentialHosts: ['localhost:1'] },
    );
    challengeFor(hub, serviceAt('localhost', hub));
    expect(causeOf(await upstream.headManifest('carol/private', LATEST, CONFIGURED))).toMatch(/^credentials/);
    expect(hub.count({ host: 'token' })).toBe(0);
  });

  test('go to the public token service of a registry', async () => {
    const hub = await filledHub();
    const { port } = new URL(hub.url);
    const { upstream } = watchedUpstream(`http://registry.gitlab.com:${port}`, {
      credentials: CAROL,
      resolve: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    challengeFor(hub, serviceAt('gitlab.com', hub), 1);
    valueOf(await upstream.headManifest('carol/private', LATEST, CONFIGURED));
    expect(hub.requests.filter(({ kind }) => kind === 'token').map(({ identity }) => identity)).toEqual([
      'carol',
    ]);
  });
});

function serviceAt(host: string, hub: FakeHub): string {
  return hub.tokenUrl.replace('127.0.0.1', host);
}

function challengeFor(hub: FakeHub, service: string, times = Infinity): void {
  const headers = { 'www-authenticate': `Bearer realm="${service}/token",service="registry.docker.io"` };
  hub.fault({ match: MANIFEST, times, do: { status: { code: 401, headers } } });
}
