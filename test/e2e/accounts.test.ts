import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { golangFixture, plainFixture } from '../fixtures/images.ts';
import { accountsFile, htpasswdLine } from '../support/accounts.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { createPodman } from '../support/podman.ts';
import { noteSecrets } from '../support/printed.ts';
import { startRelay, type Relay } from '../support/relay.ts';
import { tempFolder, type TempFolder } from '../support/temp.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

const ALICE = { name: 'alice', password: 'password-of-alice-4711' };
const AT_DOCKER_HUB = { name: 'alice-at-hub', password: 'hub-password-0815' };
const TOKEN = 'token-of-ci-0123456789';
const basicOf = ({ name, password }: typeof ALICE) => Buffer.from(`${name}:${password}`).toString('base64');
const [HUB] = UPSTREAMS;

describe('Pierhead with accounts', () => {
  let folder: TempFolder;
  let mirror: Mirror;
  /** `host:port` of the address for accounts. */
  let forAccounts: string;

  beforeAll(async () => {
    if (HUB === undefined) throw new Error('there is no upstream');
    noteSecrets([ALICE.password, AT_DOCKER_HUB.password, TOKEN, basicOf(ALICE), basicOf(AT_DOCKER_HUB)]);
    folder = await tempFolder();
    const content = [
      { repository: 'library/golang', ...golangFixture() },
      { repository: 'library/plain', ...plainFixture() },
    ];
    const rules =
      'accounts:\n- name: alice\n  allow: [docker.io/library/plain]\n- name: ci\n  allow: ["**"]\n';
    const settings = {
      CONFIG: await accountsFile(folder.path, 'pierhead.yaml', rules),
      AUTH_LISTEN: '127.0.0.1:0',
      HTPASSWD_FILE: await accountsFile(folder.path, 'htpasswd', htpasswdLine(ALICE)),
      TOKENS_FILE: await accountsFile(folder.path, 'tokens', `ci:${TOKEN}\n`),
    };
    mirror = await startMirror({ kind: HUB, content, settings });
    forAccounts = new URL(mirror.pierhead.authUrl ?? '').host;
  });

  afterAll(async () => {
    await mirror?.close();
    await folder?.remove();
  });

  async function engineBehind(target: string): Promise<{ dockerd: Dockerd; relay: Relay }> {
    const relay = await startRelay(target);
    const dockerd = await startDockerd({ mirror: relay.host });
    onTestFinished(() => dockerd.close());
    return { dockerd, relay };
  }

  describe('a Docker Engine whose user is logged in at Docker Hub', () => {
    it('sends nothing of that to the address for mirrors', async () => {
      const { dockerd, relay } = await engineBehind(mirror.pierhead.host);
      await dockerd.logInAtDockerHub(AT_DOCKER_HUB);
      await dockerd.docker('pull', 'golang');
      await dockerd.docker('pull', '--platform', 'linux/arm64', 'golang');
      expect((await dockerd.attempt('pull', 'library/nowhere')).status).toBe(1);
      expect(relay.sent).toContain('GET /v2/ HTTP/1.1');
      expect(relay.sent).toContain('/v2/library/golang/manifests/latest');
      expect(relay.sent).not.toMatch(/authorization/i);
      expect(relay.sent).not.toContain(basicOf(AT_DOCKER_HUB));
      expect(relay.sent).not.toContain(AT_DOCKER_HUB.password);
    });

    it('would send it to the address for accounts, which is why that one is not for mirrors', async () => {
      const { dockerd, relay } = await engineBehind(forAccounts);
      await dockerd.logInAtDockerHub(AT_DOCKER_HUB);
      expect((await dockerd.attempt('pull', 'golang')).status).toBe(1);
      expect(relay.sent).toContain(`Authorization: Basic ${basicOf(AT_DOCKER_HUB)}`);
    });
  });

  it('Docker logs in at the address for accounts, and pulls what the account may pull', async () => {
    const { dockerd } = await engineBehind(mirror.pierhead.host);
    const wrong = await dockerd.attempt('login', '--username', 'alice', '--password', 'wrong', forAccounts);
    expect(wrong.status).toBe(1);
    expect((await dockerd.attempt('pull', `${forAccounts}/library/plain`)).status).toBe(1);
    await dockerd.docker('login', '--username', ALICE.name, '--password', ALICE.password, forAccounts);
    const plain = `${forAccounts}/library/plain`;
    expect(await dockerd.docker('run', '--rm', '--network', 'none', plain)).toBe('plain');
    const denied = await dockerd.attempt('pull', `${forAccounts}/library/golang`);
    expect(denied.status).toBe(1);
    expect(denied.stderr).toContain('denied');
  });

  it('Podman shows a password, or a token as one', async () => {
    const podman = await createPodman({ mirror: mirror.pierhead.host });
    onTestFinished(() => podman.close());
    const pull = (credentials: string, name: string): Promise<string> => {
      const flags = ['--quiet', '--tls-verify=false', '--creds', credentials];
      return podman.podman('pull', ...flags, `${forAccounts}/library/${name}`);
    };
    expect(await pull(`${ALICE.name}:${ALICE.password}`, 'plain')).toMatch(/^[0-9a-f]{64}$/);
    expect(await pull(`ci:${TOKEN}`, 'golang')).toMatch(/^[0-9a-f]{64}$/);
    await expect(pull(`${ALICE.name}:${ALICE.password}`, 'golang')).rejects.toThrow('ended with');
    await expect(pull('alice:wrong', 'plain')).rejects.toThrow('ended with');
    const authFile = join(folder.path, 'auth.json');
    const login = ['login', '--tls-verify=false', '--authfile', authFile, '--username', 'ci'];
    expect(await podman.podman(...login, '--password', TOKEN, forAccounts)).toContain('Login Succeeded');
  });

  it('containerd shows a password', async () => {
    const containerd = await startContainerd({ mirror: mirror.pierhead.host });
    onTestFinished(() => containerd.close());
    const pull = (credentials: string, name: string) => {
      const flags = ['--plain-http', '--platform', 'linux/amd64', '--user', credentials];
      return containerd.ctr('images', 'pull', ...flags, `${forAccounts}/library/${name}:latest`);
    };
    await pull(`ci:${TOKEN}`, 'golang');
    await pull(`${ALICE.name}:${ALICE.password}`, 'plain');
    await expect(pull(`${ALICE.name}:${ALICE.password}`, 'golang')).rejects.toThrow('ended with');
    await expect(pull('alice:wrong', 'plain')).rejects.toThrow('ended with');
  });
});
