import { X509Certificate } from 'node:crypto';
import { copyFile, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { generatedContent } from '../../fake/content.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { accountsFile, htpasswdLine } from '../../support/accounts.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runCommand } from '../../support/command.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { askOn, httpsGet, tlsConnection } from '../../support/https.ts';
import { testFolder } from '../../support/temp.ts';
import { writeTlsSet, type TestTls } from '../../support/tls-set.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const MANIFEST = '/v2/library/plain/manifests/latest';

async function testTls(): Promise<TestTls> {
  const tls = await writeTlsSet();
  onTestFinished(() => tls.folder.remove());
  return tls;
}

const flagsOf = ({ paths }: TestTls) => ({ tlsCert: paths.serverCert, tlsKey: paths.serverKey });

async function secureApp(tls: TestTls, flags: Readonly<Record<string, string>> = {}): Promise<TestApp> {
  return startTestApp({ hub: await filledHub(), flags: { ...flagsOf(tls), ...flags } });
}

const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;

/** The certificate that a new connection is shown. */
async function shownBy(app: TestApp): Promise<string> {
  const socket = await tlsConnection(app.url, { rejectUnauthorized: false });
  const shown = socket.getPeerCertificate().fingerprint256;
  socket.destroy();
  return shown;
}

const notUsable = (app: TestApp) => app.log.find(({ msg }) => msg === 'file not usable');

describe('with a certificate', () => {
  it('clients are served by TLS 1.2 and 1.3, as HTTP/1.1, and by nothing older', async () => {
    const tls = await testTls();
    const app = await secureApp(tls);
    expect(app.url).toMatch(/^https:/);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const only: ConnectionOptions = { ca: tls.ca, minVersion: version, maxVersion: version };
      const { status, body } = await httpsGet(`${app.url}${MANIFEST}`, only);
      expect(status).toBe(200);
      expect(body.equals(PLAIN.image.root.bytes)).toBe(true);
    }
    const both = await tlsConnection(app.url, { ca: tls.ca, ALPNProtocols: ['h2', 'http/1.1'] });
    expect(both.alpnProtocol).toBe('http/1.1');
    both.destroy();
    const old: ConnectionOptions = {
      ca: tls.ca,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    };
    await expect(tlsConnection(app.url, old)).rejects.toThrow(/protocol version|unsupported protocol/i);
  });

  it('the admin address goes by plain HTTP on loopback, and by TLS where others can reach it', async () => {
    const tls = await testTls();
    const app = await secureApp(tls);
    expect((await fetchRaw(`${app.adminUrl}/healthz`)).status).toBe(200);
    const metrics = (await fetchRaw(`${app.adminUrl}/metrics`)).body.toString();
    const expiry = new Date(new X509Certificate(tls.server.cert).validTo).getTime() / 1000;
    expect(metrics).toContain(`pierhead_tls_certificate_expiry_timestamp_seconds ${expiry}\n`);
    const open = await secureApp(tls, { adminListen: '0.0.0.0:0', adminToken: 'a-long-admin-token' });
    const url = open.adminUrl.replace('0.0.0.0', '127.0.0.1');
    expect(url).toMatch(/^https:/);
    expect((await httpsGet(`${url}/api/v1/config`, { ca: tls.ca })).status).toBe(401);
    const token = { Authorization: 'Bearer a-long-admin-token' };
    expect((await httpsGet(`${url}/api/v1/config`, { ca: tls.ca }, token)).status).toBe(200);
  });

  it('what is no TLS ends alone, and so does a handshake that never ends', async () => {
    const tls = await testTls();
    const app = await secureApp(tls, { clientHeadersTimeout: '3s' });
    const { hostname, port } = new URL(app.url);
    const ends = ['GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n', '\x16\x03\x01', ''].map((bytes) => {
      const socket = connect({ host: hostname, port: Number(port) });
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(bytes);
      return withDeadline(once(socket, 'close'), 'the end of the connection');
    });
    await Promise.all(ends);
    expect((await httpsGet(`${app.url}/v2/`, { ca: tls.ca })).status).toBe(200);
    await eventually(
      () => app.log.filter(({ msg }) => msg === 'TLS handshake failed').length === 3,
      'a line for each',
    );
  });
});

it('`pierhead health` finds a server with TLS alive, whatever its certificate and whomever it serves', async () => {
  const tls = await testTls();
  const app = await secureApp(tls, { tlsClientCa: tls.paths.ca });
  const listen = ['--listen', new URL(app.url).host];
  const files = ['--tls-cert', tls.paths.serverCert, '--tls-key', tls.paths.serverKey];
  const where = { dataDir: app.dataDir, upstreamUrl: 'http://127.0.0.1:9' };
  expect((await runCommand(['health', ...listen, ...files], where)).status).toBe(0);
  await app.stop();
  const { status, stderr } = await runCommand(['health', ...listen, ...files], where);
  expect(status).toBe(1);
  expect(stderr).toContain('does not answer');
});

describe('a new certificate', () => {
  it('is used for new connections, and those that stand go on', async () => {
    const [old, next] = [await testTls(), await testTls()];
    const big = generatedContent({ size: 8 * 1024 * 1024, seed: 72 });
    const hub = await filledHub();
    const layers = [opaqueLayer(big)];
    hub.add({ repository: 'library/big', tags: ['latest'], image: image({ message: 'big', layers }) });
    const app = await startTestApp({ hub, flags: flagsOf(old) });
    const kept = await tlsConnection(app.url, { ca: old.ca });
    expect(await askOn(kept, '/v2/')).toContain('200 OK');
    const gate = hub.holdBlob(big.digest, 1024 * 1024);
    const running = httpsGet(`${app.url}/v2/library/big/blobs/${big.digest}`, { ca: old.ca });
    await gate.reached;

    await copyFile(next.paths.serverCert, old.paths.serverCert);
    await copyFile(next.paths.serverKey, old.paths.serverKey);
    await eventually(
      async () => (await shownBy(app)) === fingerprint(next.server.cert),
      'the new certificate to be shown',
    );
    expect(await askOn(kept, '/v2/')).toContain('200 OK');
    kept.destroy();
    gate.release();
    const { status, body } = await running;
    expect(status).toBe(200);
    expect(body.length).toBe(big.size);
    expect((await httpsGet(`${app.url}/v2/`, { ca: next.ca })).status).toBe(200);
  });

  it('is noticed where Kubernetes swaps a link to the folder of both files', async () => {
    const [old, next] = [await testTls(), await testTls()];
    const folder = await testFolder();
    const path = (name: string): string => join(folder, name);
    for (const [name, set] of [
      ['..one', old],
      ['..two', next],
    ] as const) {
      await mkdir(path(name));
      await copyFile(set.paths.serverCert, path(`${name}/tls.crt`));
      await copyFile(set.paths.serverKey, path(`${name}/tls.key`));
    }
    await symlink('..one', path('..data'));
    for (const name of ['tls.crt', 'tls.key']) await symlink(`..data/${name}`, path(name));
    const app = await secureApp(old, { tlsCert: path('tls.crt'), tlsKey: path('tls.key') });
    expect(await shownBy(app)).toBe(fingerprint(old.server.cert));
    await symlink('..two', path('..data_tmp'));
    await rename(path('..data_tmp'), path('..data'));
    await eventually(
      async () => (await shownBy(app)) === fingerprint(next.server.cert),
      'the new certificate to be shown',
    );
    expect(notUsable(app)).toBeUndefined();
  });

  it.each([
    [
      'without its key',
      (old: TestTls, next: TestTls) => copyFile(next.paths.serverCert, old.paths.serverCert),
    ],
    ['that is nonsense', (old: TestTls) => writeFile(old.paths.serverCert, 'nonsense')],
    ['that is gone', (old: TestTls) => rename(old.paths.serverCert, `${old.paths.serverCert}.away`)],
  ])('%s is told of once and not used, until it is whole', async (_what, spoil) => {
    const [old, next] = [await testTls(), await testTls()];
    const app = await secureApp(old);
    await spoil(old, next);
    await eventually(() => notUsable(app), 'word of it');
    expect(JSON.stringify(app.log)).not.toContain(old.server.key.split('\n')[1]);
    expect((await httpsGet(`${app.url}/v2/`, { ca: old.ca })).status).toBe(200);
    await copyFile(next.paths.serverKey, old.paths.serverKey);
    await copyFile(next.paths.serverCert, old.paths.serverCert);
    await eventually(
      async () => (await shownBy(app)) === fingerprint(next.server.cert),
      'the new certificate to be shown',
    );
  });

  it('that cannot be used keeps the server from starting', async () => {
    const [one, other] = [await testTls(), await testTls()];
    const flags = { tlsCert: one.paths.serverCert, tlsKey: other.paths.serverKey };
    await expect(secureApp(one, flags)).rejects.toMatchObject({
      code: 'file-invalid',
      message: expect.stringContaining('key values mismatch') as unknown,
    });
  });
});

describe('where clients need certificates', () => {
  it('whoever shows one of the authority is served, and nobody else', async () => {
    const [tls, stranger] = [await testTls(), await testTls()];
    const app = await secureApp(tls, { tlsClientCa: tls.paths.ca });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const base: ConnectionOptions = { ca: tls.ca, minVersion: version, maxVersion: version };
      const url = `${app.url}${MANIFEST}`;
      expect((await httpsGet(url, { ...base, ...tls.client })).status).toBe(200);
      const refused = [await httpsGet(url, base), await httpsGet(url, { ...base, ...stranger.client })];
      for (const { status, body } of refused) {
        expect(status).toBe(403);
        expect(body.toString()).toContain('"code":"DENIED"');
        expect(body.toString()).toContain('tlsClientCa');
      }
      // A server's certificate is not for clients.
      expect((await httpsGet(url, { ...base, ...tls.server })).status).toBe(403);
      expect((await httpsGet(`${app.url}/healthz`, base)).status).toBe(200);
    }
  });

  it('one who resumes a session that had none is still without one', async () => {
    const tls = await testTls();
    const app = await secureApp(tls, { tlsClientCa: tls.paths.ca });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const base: ConnectionOptions = { ca: tls.ca, minVersion: version, maxVersion: version };
      const first = await tlsConnection(app.url, base);
      expect(await askOn(first, '/v2/')).toContain('403');
      // Tickets of TLS 1.3 come before the first answer.
      const session = first.getSession();
      first.destroy();
      const resumed = await tlsConnection(app.url, {
        ...base,
        ...(session === undefined ? {} : { session }),
      });
      expect(resumed.isSessionReused()).toBe(true);
      expect(await askOn(resumed, '/v2/')).toContain('403');
      resumed.destroy();
    }
  });

  it('one that was of an authority until lately is refused, session or not', async () => {
    const [tls, next] = [await testTls(), await testTls()];
    const app = await secureApp(tls, { tlsClientCa: tls.paths.ca });
    const base: ConnectionOptions = { ca: tls.ca, ...tls.client };
    const first = await tlsConnection(app.url, base);
    expect(await askOn(first, '/v2/')).toContain('200');
    const session = first.getSession();
    first.destroy();
    await copyFile(next.paths.ca, tls.paths.ca);
    await eventually(
      async () => (await httpsGet(`${app.url}/v2/`, base)).status === 403,
      'the authority to be out',
    );
    const resumed = await tlsConnection(app.url, { ...base, ...(session === undefined ? {} : { session }) });
    expect(await askOn(resumed, '/v2/')).toContain('403');
    resumed.destroy();
  });

  it('that is so at the address for mirrors, and not at the one for accounts', async () => {
    const tls = await testTls();
    const htpasswdFile = await accountsFile(
      tls.folder.path,
      'htpasswd',
      htpasswdLine({ name: 'a', password: 'b' }),
    );
    const app = await secureApp(tls, { tlsClientCa: tls.paths.ca, authListen: '127.0.0.1:0', htpasswdFile });
    const basic = { Authorization: `Basic ${Buffer.from('a:b').toString('base64')}` };
    expect(app.authUrl).toMatch(/^https:/);
    expect((await httpsGet(`${app.authUrl}${MANIFEST}`, { ca: tls.ca })).status).toBe(401);
    expect((await httpsGet(`${app.authUrl}${MANIFEST}`, { ca: tls.ca }, basic)).status).toBe(200);
    expect((await httpsGet(`${app.url}${MANIFEST}`, { ca: tls.ca }, basic)).status).toBe(403);
  });
});
