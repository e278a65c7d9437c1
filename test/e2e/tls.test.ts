import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeProxy } from '../fake/proxy.ts';
import { golangFixture } from '../fixtures/images.ts';
import { accountsFile, htpasswdLine } from '../support/accounts.ts';
import type { ClientTls } from '../support/client-tls.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/dockerd.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { createPodman } from '../support/podman.ts';
import { noteSecrets } from '../support/printed.ts';
import { writeTlsSet, type TestTls } from '../support/tls-set.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

const GOLANG = 'docker.io/library/golang:latest';
/** No address, so that a Docker Engine does not take it for an insecure registry on this machine. */
const NAME = `pierhead-${randomBytes(6).toString('hex')}.test`;
const [HUB] = UPSTREAMS;
const ALICE = { name: 'alice', password: 'password-of-alice-by-tls' };

describe('Pierhead with TLS', () => {
  let tls: TestTls;
  let mirror: Mirror;
  /** The same, for clients with certificates. */
  let strict: Mirror;

  beforeAll(async () => {
    if (HUB === undefined) throw new Error('there is no upstream');
    tls = await writeTlsSet([NAME, '127.0.0.1']);
    const content = [{ repository: 'library/golang', ...golangFixture() }];
    const settings = { TLS_CERT: tls.paths.serverCert, TLS_KEY: tls.paths.serverKey };
    const accounts = {
      AUTH_LISTEN: '127.0.0.1:0',
      HTPASSWD_FILE: await accountsFile(tls.folder.path, 'htpasswd', htpasswdLine(ALICE)),
    };
    noteSecrets([ALICE.password, Buffer.from(`${ALICE.name}:${ALICE.password}`).toString('base64')]);
    mirror = await startMirror({ kind: HUB, content, settings: { ...settings, ...accounts } });
    strict = await startMirror({
      kind: HUB,
      content,
      settings: { ...settings, TLS_CLIENT_CA: tls.paths.ca },
    });
  });

  afterAll(async () => {
    await mirror?.close();
    await strict?.close();
    await tls?.folder.remove();
  });

  const served = ({ pierhead }: Mirror): unknown[] =>
    pierhead.log.filter(({ kind, status }) => kind === 'manifest' && status === 200);

  describe('a Docker Engine', () => {
    /** That trusts what `certs.d` says of the server at `url`, and nothing else. */
    async function engine(authority: string, url = mirror.pierhead.url) {
      const host = `${NAME}:${new URL(url).port}`;
      const folder = `/etc/docker/certs.d/${host}`;
      await mkdir(folder, { recursive: true });
      onTestFinished(() => rm(folder, { recursive: true }));
      await writeFile(`${folder}/ca.crt`, authority);
      const proxy = await startFakeProxy();
      const dockerd = await startDockerd({
        mirror: host,
        tls: { proxyUrl: `http://127.0.0.1:${proxy.port}` },
      });
      onTestFinished(() => dockerd.close());
      return dockerd;
    }

    it('pulls by way of its certs.d', async () => {
      const dockerd = await engine(tls.ca);
      expect(await dockerd.docker('run', '--rm', '--network', 'none', 'golang')).toBe('linux/amd64');
    });

    it('logs in at the address for accounts by way of its certs.d, and pulls from there', async () => {
      const url = mirror.pierhead.authUrl ?? '';
      const dockerd = await engine(tls.ca, url);
      const host = `${NAME}:${new URL(url).port}`;
      const golang = `${host}/library/golang`;
      expect((await dockerd.attempt('pull', golang)).stderr).toContain('no basic auth credentials');
      const logIn = (password: string) =>
        dockerd.attempt('login', '--username', ALICE.name, '--password', password, host);
      expect((await logIn('wrong')).stderr).toContain('401 Unauthorized');
      expect((await logIn(ALICE.password)).stdout.toString()).toContain('Login Succeeded');
      expect(await dockerd.docker('run', '--rm', '--network', 'none', golang)).toBe('linux/amd64');
    });

    it('does not pull where it has no reason to trust the certificate', async () => {
      const other = await writeTlsSet([NAME]);
      onTestFinished(() => other.folder.remove());
      const before = served(mirror).length;
      const dockerd = await engine(other.ca);
      expect((await dockerd.attempt('pull', 'golang')).status).toBe(1);
      expect(served(mirror)).toHaveLength(before);
    });
  });

  const clients: readonly (readonly [name: string, pull: (host: string, tls: ClientTls) => Promise<void>])[] =
    [
      [
        'containerd',
        async (host, trust) => {
          const containerd = await startContainerd({ mirror: host, tls: trust });
          onTestFinished(() => containerd.close());
          await containerd.pull(GOLANG, '--platform', 'linux/amd64');
        },
      ],
      [
        'Podman',
        async (host, trust) => {
          const podman = await createPodman({ mirror: host, tls: trust });
          onTestFinished(() => podman.close());
          await podman.podman('pull', '--quiet', 'docker.io/library/golang');
        },
      ],
    ];

  describe.each(clients)('%s', (_name, pull) => {
    const ownCertificate = () => ({ cert: tls.paths.clientCert, key: tls.paths.clientKey });

    it('pulls with the authority in its settings, and not with another', async () => {
      await pull(mirror.pierhead.host, { ca: tls.paths.ca });
      const other = await writeTlsSet();
      onTestFinished(() => other.folder.remove());
      await expect(pull(mirror.pierhead.host, { ca: other.paths.ca })).rejects.toThrow('ended with');
    });

    it('pulls with its certificate where one is needed, and not without', async () => {
      await pull(strict.pierhead.host, { ca: tls.paths.ca, client: ownCertificate() });
      await expect(pull(strict.pierhead.host, { ca: tls.paths.ca })).rejects.toThrow('ended with');
    });
  });
});
