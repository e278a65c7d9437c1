import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import { golangFixture } from '../fixtures/images.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { freePort } from '../support/free-port.ts';
import { createNodeImage } from '../support/node-image.ts';
import { addressesIn } from '../support/pierhead.ts';
import { noteOutput } from '../support/printed.ts';
import type { RunningProcess } from '../support/processes.ts';
import { tempFolder, type TempFolder } from '../support/temp.ts';

const CHECKOUT = new URL('../..', import.meta.url).pathname;

describe('The Docker image', () => {
  let folder: TempFolder;
  let hub: FakeHub;
  let dockerd: Dockerd;
  let address: string;
  const served: RunningProcess[] = [];

  beforeAll(async () => {
    folder = await tempFolder();
    hub = await startFakeHub();
    hub.add({ repository: 'library/golang', ...golangFixture() });
    address = `127.0.0.1:${await freePort()}`;
    dockerd = await startDockerd({ mirror: address });
    const { archivePath, changes } = await createNodeImage(folder.path);
    const flags = changes.flatMap((change) => ['--change', change]);
    await dockerd.docker('import', ...flags, archivePath, await baseImageName());
    // npm asks its registry, so the build is given this machine's network.
    await dockerd.build({ contextPath: CHECKOUT, tag: 'pierhead', network: 'host' });
  }, 400_000);

  afterAll(async () => {
    for (const { stdout, stderr } of served) noteOutput(stdout + stderr);
    await dockerd?.close();
    await hub?.close();
    await folder?.remove();
  });

  /** A container that serves, on a volume that outlives it; nothing else of its file system can be written to. */
  async function serve(): Promise<RunningProcess> {
    const settings = { LISTEN: address, ADMIN_LISTEN: '127.0.0.1:0', UPSTREAM: hub.url, TAG_TTL: '0s' };
    const env = Object.entries(settings).flatMap(([name, value]) => ['--env', `PIERHEAD_${name}=${value}`]);
    const sandbox = ['--read-only', '--cap-drop', 'ALL', '--network', 'host', '--volume', 'pierhead:/data'];
    const container = await dockerd.start(
      'run',
      '--rm',
      '--name',
      'pierhead',
      ...sandbox,
      ...env,
      'pierhead',
    );
    served.push(container);
    await container.waitForOutput(() => addressesIn(container.stdout), 'line that says it is ready');
    return container;
  }

  it('serves as a user without rights, from a read-only file system, and is found healthy', async () => {
    const health = await dockerd.start(
      'events',
      '--filter',
      'event=health_status',
      '--format',
      '{{.Status}}',
    );
    const container = await serve();
    await health.waitForOutput(
      () => health.stdout.includes('health_status: healthy') || undefined,
      'healthy container',
      60_000,
    );
    await health.stop();
    const user = await dockerd.docker('exec', 'pierhead', 'node', '--print', 'process.getuid()');
    expect(Number(user)).toBeGreaterThan(0);
    const mode = '(fs.statSync("/data").mode & 0o777).toString(8)';
    expect(await dockerd.docker('exec', 'pierhead', 'node', '--print', mode)).toBe('700');
    expect(await container.stop()).toBe(0);
  });

  it('holds no development dependencies', async () => {
    const packages = await dockerd.docker(
      'run',
      '--rm',
      '--network',
      'none',
      '--entrypoint',
      'ls',
      'pierhead',
      'node_modules',
    );
    expect(packages.split('\n')).toContain('hono');
    expect(packages.split('\n')).not.toContain('vitest');
  });

  it('serves a Docker Engine what its volume holds, after a restart and without upstream', async () => {
    const first = await serve();
    expect(await dockerd.docker('run', '--rm', '--network', 'none', 'golang')).toBe('linux/amd64');
    expect(await first.stop()).toBe(0);
    await hub.stop();
    await dockerd.docker('image', 'rm', 'golang');
    const second = await serve();
    expect(await dockerd.docker('run', '--rm', '--network', 'none', 'golang')).toBe('linux/amd64');
    expect(await second.stop()).toBe(0);
    expect(hub.violations).toEqual([]);
  });
});

/** What the Dockerfile builds on, unless it is told otherwise. */
async function baseImageName(): Promise<string> {
  const dockerfile = await readFile(new URL('../../Dockerfile', import.meta.url), 'utf8');
  const name = /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile)?.[1];
  if (name === undefined) throw new Error('the Dockerfile names no NODE_IMAGE');
  return name;
}
