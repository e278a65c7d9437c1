import { describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { rawRequest } from '../../support/http.ts';
import { eventually } from '../../support/wait.ts';

const MANIFEST = '/v2/library/plain/manifests/latest';

/** Asks with these lines of X-Forwarded-For. */
function forwarded(app: TestApp, target: string, ...lines: readonly string[]) {
  return app.get(target, { headers: lines.map((line) => ['X-Forwarded-For', line]) });
}

describe('behind a proxy that is trusted', () => {
  it.each([
    ['one client', ['192.0.2.7'], '192.0.2.7'],
    ['a client with a port', ['192.0.2.7:4711'], '192.0.2.7'],
    ['a client of IPv6', ['2001:db8::7'], '2001:db8::7'],
    ['a client of IPv6 with a port', ['[2001:db8::7]:4711'], '2001:db8::7'],
    ['a client of IPv4 in IPv6', ['::ffff:192.0.2.7'], '192.0.2.7'],
    ['a second proxy', ['192.0.2.7, 10.9.1.1'], '192.0.2.7'],
    ['a second proxy on a line of its own', ['192.0.2.7', '10.9.1.1'], '192.0.2.7'],
    ['what a client made up before it', ['10.0.0.1, 192.0.2.7'], '192.0.2.7'],
    ['a client that names a proxy', ['192.0.2.1, 198.51.100.9, 10.9.1.1'], '198.51.100.9'],
    ['nothing but proxies', ['10.9.1.2, 10.9.1.1'], '10.9.1.2'],
    ['no client', [], '127.0.0.1'],
    ['an empty line', [''], '127.0.0.1'],
    ['no address', ['unknown, 10.9.1.1'], '10.9.1.1'],
    ['a name', ['client.example.net'], '127.0.0.1'],
  ])('the client is known by the header: %s', async (_what, lines, client) => {
    const flags = { trustedProxies: '127.0.0.0/8,10.9.0.0/16', allowNetworks: '0.0.0.0/0,::/0' };
    const app = await startTestApp({ hub: await filledHub(), flags });
    expect((await forwarded(app, '/v2/', ...lines)).status).toBe(200);
    const line = await eventually(
      () => app.log.find(({ msg }) => msg === 'request'),
      'the line of the request',
    );
    expect(line['client']).toBe(client);
  });

  it('its network decides whether it is served, and by which rules', async () => {
    const hub = await filledHub();
    const yaml = 'clients:\n- network: 10.2.0.0/16\n  failMode: strict\n';
    const flags = { trustedProxies: '127.0.0.1', offline: true };
    const app = await startTestApp({ hub, flags, yaml });
    const blob = `/v2/library/plain/blobs/sha256:${'a'.repeat(64)}`;
    expect((await forwarded(app, blob, '10.1.0.1')).status).toBe(404);
    expect((await forwarded(app, blob, '10.2.0.1')).status).toBe(503);
    const outside = await forwarded(app, blob, '10.2.0.1, 192.0.2.7');
    expect(outside.status).toBe(403);
    expect(outside.body.toString()).toContain('192.0.2.7');
    // That of the proxy itself has no say in it.
    expect((await forwarded(app, '/v2/', '10.1.0.1')).status).toBe(200);
  });
});

it('a client that is no trusted proxy is who it is, whatever it says', async () => {
  const hub = await filledHub();
  const flags = { allowNetworks: '192.0.2.0/24', trustedProxies: '10.9.0.0/16' };
  const app = await startTestApp({ hub, flags });
  for (const name of ['X-Forwarded-For', 'X-Real-IP', 'Forwarded', 'Via']) {
    const value = name === 'Forwarded' ? 'for=192.0.2.7' : '192.0.2.7';
    expect((await app.get(MANIFEST, { headers: [[name, value]] })).status).toBe(403);
  }
  expect(hub.requests).toEqual([]);
});

it('the admin API takes no request that a proxy passed on for one from this machine', async () => {
  const app = await startTestApp({ hub: await filledHub() });
  const ask = (headers: readonly (readonly [string, string])[]) =>
    rawRequest({ origin: app.adminUrl, target: '/api/v1/config', headers });
  expect((await ask([])).status).toBe(200);
  expect((await ask([['X-Forwarded-For', '192.0.2.7']])).status).toBe(403);
  expect((await ask([['Forwarded', 'for=192.0.2.7']])).status).toBe(403);
  expect((await ask([['Via', '1.1 proxy']])).status).toBe(403);
});
