import { createServer, type Server } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Resolve } from '../../../src/upstream/connect/dial-guard.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { startSlowServer } from '../../support/slow-server.ts';
import {
  ANYBODY,
  CAROL,
  causeOf,
  CONFIGURED,
  hubAndUpstream,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const MANIFEST = { kind: 'manifest', reference: 'latest' } as const;

/** Names that stand for what the map says at the moment; each look at one is counted. */
function names(addresses: Map<string, string[]>): { resolve: Resolve; asked: string[] } {
  const asked: string[] = [];
  const resolve: Resolve = (hostname, _options, callback) => {
    asked.push(hostname);
    const found = (addresses.get(hostname) ?? []).map((address) => ({ address, family: 4 }));
    callback(null, found);
  };
  return { resolve, asked };
}

async function listening(
  port = 0,
  host = '127.0.0.1',
): Promise<{ server: Server; url: string; seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const opened = typeof address === 'object' && address !== null ? address.port : 0;
  return { server, url: `http://${host}:${opened}`, seen };
}

/** The same server under the one address of another kind that every Linux answers on: 0.0.0.0 means this machine. */
async function anyAddress(): Promise<{ url: string; seen: string[] }> {
  const { url, seen } = await listening();
  return { url: url.replace('127.0.0.1', '0.0.0.0'), seen };
}

describe('a registry on loopback', () => {
  test.each([
    ['http://10.0.0.1:9/x', '10.0.0.1:9', 'private'],
    ['http://192.168.1.1/x', '192.168.1.1', 'private'],
    ['http://169.254.169.254/latest/meta-data/', '169.254.169.254', 'cloud metadata'],
    ['http://[fd00:ec2::254]/latest/', '[fd00:ec2::254]', 'cloud metadata'],
    ['http://169.254.7.7/', '169.254.7.7', 'link-local'],
    ['http://[fe80::1]/', '[fe80::1]', 'link-local'],
    ['http://[::ffff:10.0.0.1]/', '[::ffff:a00:1]', 'private'],
    ['http://0x0a.1/', '10.0.0.1', 'private'],
    ['http://0.0.0.0/', '0.0.0.0', 'reserved'],
    ['http://224.0.0.1/', '224.0.0.1', 'reserved'],
  ])('cannot redirect us to %s', async (redirectTo, host, kind) => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: MANIFEST, do: { redirectTo } });
    expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toBe(
      `not-a-registry: ${host} is not dialled, because it is at a ${kind} address`,
    );
  });

  test('cannot redirect us to an address that answers, and is where nobody should be', async () => {
    const inside = await anyAddress();
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: MANIFEST, do: { redirectTo: `${inside.url}/secret` } });
    expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toContain('reserved address');
    expect(inside.seen).toEqual([]);
  });

  test('can redirect us to its own kind of address', async () => {
    const { upstream } = await hubAndUpstream({ blobHostName: '127.0.0.1' });
    const digest = GOLANG.image.blobs[0]?.digest;
    if (digest === undefined) throw new Error('the image has no blob');
    valueOf(await upstream.getBlob(repository, digest, { ...ANYBODY, offset: 0 })).close();
  });

  test('can redirect us into networks that the settings name', async () => {
    const inside = await anyAddress();
    const { hub, upstream } = await hubAndUpstream({}, { networks: ['0.0.0.0/32'] });
    hub.fault({ match: MANIFEST, do: { redirectTo: `${inside.url}/named` } });
    await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(inside.seen).toEqual(['/named']);
  });
});

describe('a name', () => {
  test('that resolves to an address where we have no business is not dialled', async () => {
    const { resolve } = names(new Map([['rebound.test', ['10.0.0.1', '169.254.169.254']]]));
    const { hub, upstream } = await hubAndUpstream({}, { resolve });
    hub.fault({ match: MANIFEST, do: { redirectTo: 'http://rebound.test/x' } });
    expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toBe(
      'not-a-registry: rebound.test is not dialled, because it is at a private address',
    );
  });

  test('is dialled only at those of its addresses that are allowed', async () => {
    const elsewhere = await listening();
    const { port } = new URL(elsewhere.url);
    const { resolve } = names(new Map([['both.test', ['10.0.0.1', '127.0.0.1']]]));
    const { hub, upstream } = await hubAndUpstream({}, { resolve });
    hub.fault({ match: MANIFEST, do: { redirectTo: `http://both.test:${port}/x` } });
    await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(elsewhere.seen).toEqual(['/x']);
  });

  test('that resolves otherwise the second time is looked at again when it is dialled again', async () => {
    const elsewhere = await listening();
    const { port } = new URL(elsewhere.url);
    const addresses = new Map([['rebinding.test', ['127.0.0.1']]]);
    const { resolve, asked } = names(addresses);
    const { hub, upstream } = await hubAndUpstream({}, { resolve });
    hub.fault({ match: MANIFEST, times: 2, do: { redirectTo: `http://rebinding.test:${port}/x` } });
    await upstream.getManifest(repository, LATEST, ANYBODY);
    addresses.set('rebinding.test', ['10.0.0.1']);
    elsewhere.server.closeAllConnections();
    expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toContain('private address');
    expect(elsewhere.seen).toEqual(['/x']);
    expect(asked.length).toBeGreaterThan(1);
  });
});

describe('a registry that is known by name', () => {
  test('may send us to where it was found, and to nowhere else', async () => {
    const hub = await filledHub();
    const { port } = new URL(hub.url);
    const { resolve } = names(new Map([['registry.test', ['127.0.0.1']]]));
    const { upstream } = watchedUpstream(`http://registry.test:${port}`, { resolve });
    valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
    const [own, elsewhere] = [await listening(), await anyAddress()];
    for (const { url } of [own, elsewhere]) {
      const fault = hub.fault({ match: MANIFEST, do: { redirectTo: `${url}/x` } });
      await upstream.getManifest(repository, LATEST, ANYBODY);
      fault.remove();
    }
    expect([own.seen, elsewhere.seen]).toEqual([['/x'], []]);
  });
});

describe('a token service', () => {
  test.each(['http://10.0.0.1/token', 'http://169.254.169.254/token', 'http://rebound.test/token'])(
    'at %s is not asked, not even for a token for anybody',
    async (realm) => {
      const { resolve } = names(new Map([['rebound.test', ['10.0.0.1']]]));
      const { hub, upstream } = await hubAndUpstream({}, { resolve });
      const headers = { 'www-authenticate': `Bearer realm="${realm}",service="x"` };
      hub.fault({ match: MANIFEST, do: { status: { code: 401, headers } } });
      expect(causeOf(await upstream.getManifest(repository, LATEST, ANYBODY))).toMatch(
        new RegExp(`^not-a-registry: ${new URL(realm).host} is not dialled, because it is at a`),
      );
    },
  );

  test('at an address where we have no business gets neither a request nor credentials', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { credentials: CAROL });
    const challenge = 'Bearer realm="http://10.0.0.1/token",service="x"';
    hub.fault({ match: MANIFEST, do: { status: { code: 401, headers: { 'www-authenticate': challenge } } } });
    const outcome = await upstream.getManifest(repository, LATEST, CONFIGURED);
    expect(causeOf(outcome)).toMatch(/^(?:not-a-registry|credentials): /);
    expect(hub.count({ host: 'token' })).toBe(0);
  });
});

describe('a name with several addresses', () => {
  /** The server that takes its time at one of them, and nobody at the other. */
  async function slowName(addresses: readonly string[]) {
    const server = await startSlowServer();
    const { resolve } = names(new Map([['slow.test', [...addresses]]]));
    const { upstream } = watchedUpstream(`http://slow.test:${server.port}`, { resolve });
    return { server, asking: upstream.headManifest(repository, LATEST, ANYBODY) };
  }

  test.each([
    ['the first', ['127.0.0.1', '127.0.0.9']],
    ['the last', ['127.0.0.9', '127.0.0.1']],
  ])('is waited for at %s for longer than the others are', async (_which, addresses) => {
    const { server, asking } = await slowName(addresses);
    await server.tried();
    server.wake();
    expect((await asking).kind).toBe('ok');
  });

  test('is reached at one of them while another does not answer at all', async () => {
    const dead = await startSlowServer();
    const { seen } = await listening(dead.port, '127.0.0.9');
    const { resolve } = names(new Map([['half.test', ['127.0.0.1', '127.0.0.9']]]));
    const { upstream } = watchedUpstream(`http://half.test:${dead.port}`, { resolve });
    await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(seen).toEqual([`/v2/${repository}/manifests/latest`]);
  });
});
