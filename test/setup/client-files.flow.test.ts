import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { exampleFiles } from '../../src/reference/examples.ts';
import { runCommand } from '../support/command.ts';
import { testFolder } from '../support/temp.ts';

const CLIENTS = ['docker', 'containerd', 'nerdctl', 'podman', 'buildkit', 'k3s', 'kaniko'];
const EXAMPLES = new URL('../../config/clients/', import.meta.url);
const HTTP = 'http://pierhead.example.net:5000';
const HTTPS = 'https://pierhead.example.net:5000';

/** `pierhead setup <words>`, in a folder of its own. */
async function setup(...words: readonly string[]) {
  const dataDir = await testFolder();
  const { status, stdout, stderr } = await runCommand(['setup', ...words], {
    dataDir,
    upstreamUrl: 'http://127.0.0.1:9',
  });
  return { status, stdout: stdout.toString(), stderr, folder: dataDir };
}

/** The parts of what it prints, by their headings. */
function parts(stdout: string): ReadonlyMap<string, string> {
  const [, ...pieces] = stdout.split(/^==> (.*) <==$/m);
  return new Map(
    pieces.flatMap((piece, at) => (at % 2 === 0 ? [[piece, (pieces[at + 1] ?? '').trim()]] : [])),
  );
}

it('config/clients holds what setup makes, and nothing else', async () => {
  const names = await readdir(EXAMPLES, { recursive: true, withFileTypes: true });
  const found = names.filter((each) => each.isFile()).map(({ name, parentPath }) => join(parentPath, name));
  const made = exampleFiles().map(({ name }) => new URL(name, EXAMPLES).pathname);
  expect(found.sort()).toEqual(made.sort());
  for (const { name, text } of exampleFiles()) {
    expect(await readFile(new URL(name, EXAMPLES), 'utf8'), name).toBe(text);
  }
});

describe('setup', () => {
  it.each(CLIENTS)('prints the file for %s, where it goes, and what is to be done then', async (client) => {
    const { status, stdout } = await setup(client, '--url', HTTP);
    expect(status).toBe(0);
    const printed = parts(stdout);
    expect(printed.size).toBe(2);
    const [[path = '', text = ''] = []] = printed;
    const examples = exampleFiles().filter(({ name }) => !name.startsWith('tls/'));
    expect(examples.map((each) => each.text.trim())).toContain(text);
    expect(text).toContain('pierhead.example.net:5000');
    if (client !== 'kaniko') expect(path).toMatch(/^\/etc\//);
    expect(printed.get('afterwards')).not.toBe('');
  });

  it.each(CLIENTS)(
    'prints for %s the authority of a TLS mirror too, where the client looks for it',
    async (client) => {
      const { folder } = await setup('--tls');
      const ca = join(folder, 'tls/ca.crt');
      const { stdout } = await setup(client, '--url', HTTPS, '--ca', ca);
      const printed = parts(stdout);
      const [[, text = ''] = [], [path = '', authority = ''] = []] = printed;
      expect(authority).toBe((await readFile(ca, 'utf8')).trim());
      // Docker, Podman and their like look by the host; the others are told in the file.
      if (path.includes('pierhead.example.net:5000/')) expect(path).toMatch(/certs\.d\/[^/]*\/ca\.crt$/);
      else expect(text).toContain(path);
      expect(text).not.toMatch(/http:|insecure/);
    },
  );

  it('prints the same for another registry, where the client can have mirrors of it', async () => {
    const containerd = await setup('containerd', '--url', HTTP, '--registry', 'ghcr.io');
    expect(containerd.stdout).toContain('==> /etc/containerd/certs.d/ghcr.io/hosts.toml <==');
    expect(containerd.stdout).toContain('server = "https://ghcr.io"');
    const k3s = parts((await setup('k3s', '--url', HTTP, '--registry', 'ghcr.io')).stdout);
    const registries: unknown = parse([...k3s.values()][0] ?? '');
    expect(registries).toEqual({ mirrors: { 'ghcr.io': { endpoint: [HTTP] } } });
    const buildkit = await setup('buildkit', '--url', HTTP, '--registry', 'ghcr.io');
    expect(buildkit.stdout).toContain('[registry."ghcr.io"]\n  mirrors = ["pierhead.example.net:5000"]\n');
    const docker = parts((await setup('docker', '--url', HTTP, '--registry', 'ghcr.io')).stdout);
    const hosts = docker.get('/etc/docker/certs.d/ghcr.io/hosts.toml') ?? '';
    expect(hosts).toContain(`[host."${HTTP}"]\n  capabilities = ["pull", "resolve", "referrers"]`);
    expect(docker.get('afterwards')).toContain('at each pull');
  });

  it('lets referrers be asked for by those containerds that can, and be left out by those that cannot', async () => {
    const capabilitiesOf = async (...words: readonly string[]): Promise<string[]> => {
      const { stdout } = await setup('containerd', '--url', HTTP, ...words);
      return stdout.split('\n').filter((line) => line.includes('capabilities ='));
    };
    const older = '  capabilities = ["pull", "resolve"]';
    const newer = '  capabilities = ["pull", "resolve", "referrers"]';
    expect(await capabilitiesOf('--containerd', '1')).toEqual([older]);
    expect(await capabilitiesOf('--containerd', '2')).toEqual([newer]);
    expect(await capabilitiesOf()).toEqual([older, newer.replace('  ', '  # ')]);
  });

  it('names the registry in the path for clients that do not say which one they mean', async () => {
    const podman = await setup('podman', '--url', HTTP, '--registry', 'ghcr.io');
    expect(podman.stdout).toContain('[[registry]]\nprefix = "ghcr.io"\nlocation = "ghcr.io"\n');
    expect(podman.stdout).toContain('[[registry.mirror]]\nlocation = "pierhead.example.net:5000/ghcr.io"\n');
    const kaniko = await setup('kaniko', '--url', HTTP, '--registry', 'ghcr.io');
    expect(kaniko.stdout).toContain('- --registry-map=ghcr.io=pierhead.example.net:5000/ghcr.io\n');
    expect(kaniko.stdout).toContain('- --insecure-registry=pierhead.example.net:5000\n');
  });

  it.each([
    [[]],
    [['cri-o', '--url', HTTP]],
    [['docker']],
    [['docker', '--url', 'pierhead:5000']],
    [['docker', '--url', `${HTTP}/path`]],
    [['docker', '--url', 'http://user:word@pierhead:5000']],
    [['docker', '--url', HTTP, '--ca', '/nonexistent']],
    [['docker', '--url', HTTPS, '--ca', '/nonexistent']],
    [['docker', '--tls']],
    [['containerd', '--url', HTTP, '--containerd', '3']],
    [['podman', '--url', HTTP, '--containerd', '2']],
    [['podman', '--url', HTTP, '--registry', 'ghcr.io/org']],
    [['podman', '--url', HTTP, '--registry', 'https://ghcr.io']],
    [['podman', '--url', HTTP, '--registry', 'ghcr.io" word']],
    [['--tls', '--host', 'a b']],
  ])('ends with 2 and a word why: %j', async (words) => {
    const { status, stdout, stderr } = await setup(...words);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^pierhead: .+\n$/);
    expect(stderr).not.toContain('word');
  });

  it('says why it cannot read the authority', async () => {
    const { stderr } = await setup('docker', '--url', HTTPS, '--ca', '/nonexistent');
    expect(stderr).toBe('pierhead: --ca: cannot read /nonexistent (ENOENT)\n');
  });
});

describe('setup --tls', () => {
  it('writes keys for their owner alone, and never over a set that is there', async () => {
    const folder = await testFolder();
    const out = join(folder, 'set');
    const { status, stdout } = await setup('--tls', '--out', out, '--host', 'mirror.example.net');
    expect(status).toBe(0);
    expect(parse(stdout)).toEqual({ tlsCert: join(out, 'server.crt'), tlsKey: join(out, 'server.key') });
    for (const name of ['server.key', 'client.key']) {
      expect((await stat(join(out, name))).mode & 0o777).toBe(0o600);
    }
    const before = await readFile(join(out, 'server.key'), 'utf8');
    const again = await setup('--tls', '--out', out);
    expect([again.status, again.stdout]).toEqual([2, '']);
    expect(await readFile(join(out, 'server.key'), 'utf8')).toBe(before);
  });
});
