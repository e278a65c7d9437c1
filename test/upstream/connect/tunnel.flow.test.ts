import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { CertificateFileError } from '../../../src/upstream/connect/trust.ts';
import { HTTPS_NAMES, startHttpsHub, type HttpsHub, type HttpsHubOptions } from '../../fake/https-hub.ts';
import { startFakeProxy, type FakeProxy, type ProxyOptions } from '../../fake/proxy.ts';
import { selfSigned } from '../../support/certificates.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { testFolder } from '../../support/temp.ts';
import { ANYBODY, causeOf, readBody, valueOf, watchedUpstream } from '../../support/upstream-client.ts';

const LATEST = { kind: 'tag', tag: 'latest' } as const;
const REPOSITORY = 'library/golang';
const VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];

beforeEach(() => {
  for (const name of VARIABLES) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toLowerCase(), undefined);
  }
});

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A proxy that the environment names, and a registry over TLS that is to be had by it only. */
async function officeNetwork(
  proxyOptions: ProxyOptions = {},
  hubOptions: Partial<HttpsHubOptions> = {},
): Promise<{ proxy: FakeProxy; hub: HttpsHub; ca: string }> {
  const certificate = await selfSigned(HTTPS_NAMES);
  const proxy = await startFakeProxy(proxyOptions);
  const hub = await startHttpsHub({ certificate, ...hubOptions });
  vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${proxy.port}`);
  return { proxy, hub, ca: certificate.path };
}

function getBlob(hub: HttpsHub, ca: string | undefined) {
  const { upstream } = watchedUpstream(hub.url, ca === undefined ? {} : { ca });
  return upstream.getBlob(REPOSITORY, hub.blob.digest, { ...ANYBODY, offset: 0 });
}

describe('HTTPS_PROXY', () => {
  test('may leave http:// out, as for Docker and curl', async () => {
    const { proxy, hub, ca } = await officeNetwork();
    vi.stubEnv('HTTPS_PROXY', `127.0.0.1:${proxy.port}`);
    expect((await getBlob(hub, ca)).kind).toBe('ok');
    expect(proxy.asked.length).toBeGreaterThan(0);
  });

  test('is the way to registry, token service and blobs', async () => {
    const { proxy, hub, ca } = await officeNetwork();
    const { bytes } = await readBody(valueOf(await getBlob(hub, ca)));
    expect(digestOf(bytes)).toBe(hub.blob.digest);
    const targets = HTTPS_NAMES.map((name) => `CONNECT ${name}:${hub.port}`);
    expect(new Set(proxy.asked)).toEqual(new Set(targets));
    expect(hub.seen).toEqual([
      ['registry.test', undefined],
      ['auth.test', undefined],
      ['registry.test', 'Bearer a-token-of-the-https-hub'],
      ['blobs.test', undefined],
    ]);
  });

  test('may hold a login, which is not shown when it is refused', async () => {
    const { proxy, hub, ca } = await officeNetwork({ login: { user: 'me', password: 'secret' } });
    vi.stubEnv('HTTPS_PROXY', `http://me:secret@127.0.0.1:${proxy.port}`);
    expect((await getBlob(hub, ca)).kind).toBe('ok');
    vi.stubEnv('HTTPS_PROXY', `http://me:other-secret@127.0.0.1:${proxy.port}`);
    expect(causeOf(await getBlob(hub, ca))).toBe(
      `unreachable: the proxy does not connect to registry.test:${hub.port}, it answered 407`,
    );
  });

  test('that refuses is named', async () => {
    const { hub, ca } = await officeNetwork({ refuseWith: 403 });
    expect(causeOf(await getBlob(hub, ca))).toBe(
      `unreachable: the proxy does not connect to registry.test:${hub.port}, it answered 403`,
    );
  });

  test('may be asked over TLS, by the certificates that are trusted', async () => {
    const certificate = await selfSigned([...HTTPS_NAMES, 'localhost']);
    const { hub } = await officeNetwork({}, { certificate });
    const proxy = await startFakeProxy({ certificate });
    vi.stubEnv('HTTPS_PROXY', `https://localhost:${proxy.port}`);
    const { bytes } = await readBody(valueOf(await getBlob(hub, certificate.path)));
    expect(digestOf(bytes)).toBe(hub.blob.digest);
    expect(proxy.asked.length).toBeGreaterThan(0);
    expect(causeOf(await getBlob(hub, undefined))).toBe(
      `unreachable: the proxy does not connect to registry.test:${hub.port}, there is no TLS connection to it: self-signed certificate`,
    );
  });

  test('that says nothing is given up by the time of a connection', async () => {
    const { hub, ca } = await officeNetwork({ isSilent: true });
    const { upstream } = watchedUpstream(hub.url, { ca, connectTimeoutMs: 1000 });
    const outcome = await upstream.getBlob(REPOSITORY, hub.blob.digest, { ...ANYBODY, offset: 0 });
    expect(causeOf(outcome)).toBe(`unreachable: no connection to registry.test:${hub.port} within 1 s`);
  });

  test('that is not there is named by its address', async () => {
    const { hub, ca } = await officeNetwork();
    vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:9');
    expect(causeOf(await getBlob(hub, ca))).toBe(
      `unreachable: connection refused by registry.test:${hub.port} (127.0.0.1:9)`,
    );
  });

  test.each(['registry.test', '.test', '*.test', 'other.example, registry.test', '*'])(
    'is not for whom NO_PROXY=%s names',
    async (noProxy) => {
      const { proxy, hub, ca } = await officeNetwork();
      vi.stubEnv('NO_PROXY', noProxy);
      expect(causeOf(await getBlob(hub, ca))).toMatch(/cannot resolve the name registry\.test/);
      expect(proxy.asked).toEqual([]);
    },
  );
});

describe('HTTP_PROXY', () => {
  test('gets requests for plain http as they are, and none for this machine', async () => {
    const hub = await filledHub();
    const proxy = await startFakeProxy();
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${proxy.port}`);
    const registry = `http://registry.test:${new URL(hub.url).port}`;
    // The proxy knows where that is, we do not; and its token service is on this machine.
    const { upstream } = watchedUpstream(registry, { networks: ['127.0.0.0/8'] });
    const manifest = valueOf(await upstream.getManifest(REPOSITORY, LATEST, ANYBODY));
    expect(manifest).toEqual(GOLANG.image.root);
    const [blob] = GOLANG.image.blobs;
    if (blob === undefined) throw new Error('the image has no blobs');
    const stream = valueOf(await upstream.getBlob(REPOSITORY, blob.digest, { ...ANYBODY, offset: 0 }));
    expect(digestOf((await readBody(stream)).bytes)).toBe(blob.digest);
    expect(proxy.asked).toEqual([
      `GET ${registry}/v2/${REPOSITORY}/manifests/latest`,
      `GET ${registry}/v2/${REPOSITORY}/manifests/latest`,
      `GET ${registry}/v2/${REPOSITORY}/blobs/${blob.digest}`,
    ]);
    const { upstream: local } = watchedUpstream(hub.url);
    expect((await local.headManifest(REPOSITORY, LATEST, ANYBODY)).kind).toBe('ok');
    expect(proxy.asked.length).toBe(3);
  });

  test('does not let a registry that only it can see send us to this machine', async () => {
    const hub = await filledHub();
    const proxy = await startFakeProxy();
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${proxy.port}`);
    const { upstream } = watchedUpstream(`http://registry.test:${new URL(hub.url).port}`);
    expect(causeOf(await upstream.headManifest(REPOSITORY, LATEST, ANYBODY))).toBe(
      `not-a-registry: ${new URL(hub.tokenUrl).host} is not dialled, because it is at a loopback address`,
    );
    expect(hub.count({ host: 'token' })).toBe(0);
  });

  test('that wants a login is named', async () => {
    const hub = await filledHub();
    const proxy = await startFakeProxy({ login: { user: 'me', password: 'secret' } });
    const registry = `registry.test:${new URL(hub.url).port}`;
    const options = { networks: ['127.0.0.0/8'] };
    const ask = () =>
      watchedUpstream(`http://${registry}`, options).upstream.headManifest(REPOSITORY, LATEST, ANYBODY);
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${proxy.port}`);
    expect(causeOf(await ask())).toBe(
      `unreachable: the proxy does not connect to ${registry}, it answered 407`,
    );
    vi.stubEnv('HTTP_PROXY', `http://me:secret@127.0.0.1:${proxy.port}`);
    expect((await ask()).kind).toBe('ok');
  });
});

describe('TLS', () => {
  test('goes only to who has a certificate that is trusted, for the name that was asked for', async () => {
    const { hub, ca } = await officeNetwork();
    expect(causeOf(await getBlob(hub, undefined))).toBe(
      `unreachable: no TLS connection to registry.test:${hub.port}: self-signed certificate (DEPTH_ZERO_SELF_SIGNED_CERT)`,
    );
    const other = await officeNetwork({}, { certificate: await selfSigned(['other.test']) });
    expect(causeOf(await getBlob(other.hub, ca))).toContain('no TLS connection to registry.test');
    expect((await getBlob(hub, ca)).kind).toBe('ok');
  });

  test('trusts NODE_EXTRA_CA_CERTS beside the file of the settings', async () => {
    const { hub, ca } = await officeNetwork();
    vi.stubEnv('NODE_EXTRA_CA_CERTS', ca);
    const { path } = await selfSigned(['other.test']);
    expect((await getBlob(hub, path)).kind).toBe('ok');
    // Node warns of one that is not there, and goes on.
    vi.stubEnv('NODE_EXTRA_CA_CERTS', `${path}.gone`);
    expect((await getBlob(hub, ca)).kind).toBe('ok');
  });

  test('wants a file that holds certificates', async () => {
    const folder = await testFolder();
    const file = join(folder, 'ca.pem');
    const create = () => watchedUpstream('https://registry.test', { ca: file });
    expect(create).toThrow(CertificateFileError);
    for (const content of ['', 'garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n']) {
      await writeFile(file, content);
      expect(create).toThrow(CertificateFileError);
    }
  });

  test('is not left for a token service or a blob that is to be had without it', async () => {
    const realm = await officeNetwork({}, { realmScheme: 'http' });
    expect(causeOf(await getBlob(realm.hub, realm.ca))).toBe(
      `not-a-registry: registry.test:${realm.hub.port} names the token service http://auth.test:${realm.hub.port}/token, which is not https`,
    );
    const redirect = await officeNetwork({}, { redirectScheme: 'http' });
    expect(causeOf(await getBlob(redirect.hub, redirect.ca))).toBe(
      `not-a-registry: registry.test:${redirect.hub.port} redirected to http://blobs.test:${redirect.hub.port}/blob, which is not https`,
    );
  });
});
