import { chmod, chown, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { blobPath } from '../../src/store/part/layout.ts';
import type { FakeHub } from '../fake/hub.ts';
import { runCommand } from '../support/command.ts';
import { run } from '../support/commands.ts';
import { filledHub, PLAIN } from '../support/filled-hub.ts';
import { fetchRaw } from '../support/http.ts';
import { asNobody, NOBODY, runAsNobody, serveAsNobody } from '../support/nobody.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { MAIN } from '../support/program.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const { digest } = PLAIN.image.config;
/** A command takes a second or so to start. */
const COMMANDS_MS = 120_000;

/** A data directory that its maker let every user enter, in a folder that every user may enter. */
async function openDataDir(): Promise<string> {
  const folder = await testFolder();
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'data');
  await mkdir(dataDir, 0o755);
  return dataDir;
}

async function serve(hub: FakeHub, dataDir: string): Promise<Pierhead> {
  const server = await startPierhead({ upstreamUrl: hub.url, dataDir });
  onTestFinished(() => server.close());
  return server;
}

async function pull(server: Pierhead): Promise<void> {
  expect((await fetchRaw(`${server.url}/v2/library/plain/manifests/latest`)).status).toBe(200);
  const state = async () =>
    (await fetchRaw(`${server.url}/v2/library/plain/blobs/${digest}`)).header('cache-status');
  await eventually(async () => (await state()) === 'pierhead; hit', 'the blob to be stored');
}

/** As an earlier version left it under the usual umask. */
async function openToAll(dataDir: string): Promise<void> {
  await run({ program: 'chmod', args: ['-R', 'a+rX', dataDir] });
}

/** The paths below a folder that somebody besides their owner may enter, read or write. */
async function openPaths(dataDir: string): Promise<string[]> {
  const names = await readdir(dataDir, { recursive: true });
  const open: string[] = [];
  for (const name of names) if (((await stat(join(dataDir, name))).mode & 0o077) !== 0) open.push(name);
  return open;
}

const readable = async (dataDir: string): Promise<string> =>
  (await asNobody('find', [dataDir, '-type', 'f', '-readable'])).stdout.toString();

const READING = [
  ['images'],
  ['images', '--json'],
  ['lock'],
  ['export', '-o', '-'],
  ['export', 'plain', '-o', '-'],
  ['index', '-o', '-'],
  ['check', 'plain'],
  ['resolve', 'plain'],
  ['verify'],
];

/** Whose the data directory and all in it are. */
async function ownersIn(dataDir: string): Promise<number[]> {
  const paths = ['', ...(await readdir(dataDir, { recursive: true }))];
  const owners = await Promise.all(paths.map(async (path) => (await stat(join(dataDir, path))).uid));
  return [...new Set(owners)];
}

describe('root, in the data directory of another user,', { timeout: COMMANDS_MS }, () => {
  it.each([
    [NOBODY, `nobody (${NOBODY})`, 'nobody'],
    [61_999, '61999', "'#61999'"],
  ])('is told to be user %i, and writes nothing', async (uid, shown, sudo) => {
    const hub = await filledHub();
    const dataDir = await openDataDir();
    await chown(dataDir, uid, uid);
    const outcome = await runCommand(['warm', 'plain'], { dataDir, upstreamUrl: hub.url });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toBe(
      `pierhead: the data directory ${dataDir} belongs to user ${shown}, who could not read the files of root; run this as that user: sudo -u ${sudo} …\n`,
    );
    expect(await readdir(dataDir)).toEqual([]);
  });

  it('reads, and has the server of that user do the rest', async () => {
    const hub = await filledHub();
    const dataDir = await openDataDir();
    await chown(dataDir, NOBODY, NOBODY);
    const options = { dataDir, upstreamUrl: hub.url };
    expect((await runAsNobody(['warm', 'plain'], options)).status).toBe(0);
    expect((await runCommand(['images'], options)).stdout.toString()).toContain('plain:latest');
    expect((await runCommand(['pin', 'plain'], options)).status).toBe(2);
    await serveAsNobody(options);
    expect(await runCommand(['pin', 'plain'], options)).toMatchObject({ status: 0 });
    expect(await ownersIn(dataDir)).toEqual([NOBODY]);
  });
});

describe('another user of the machine', () => {
  it(
    'reads nothing of a data directory that an earlier version left open, once a server has taken it',
    { timeout: COMMANDS_MS },
    async () => {
      const hub = await filledHub();
      const dataDir = await openDataDir();
      const first = await serve(hub, dataDir);
      await pull(first);
      await first.stop();
      await openToAll(dataDir);
      expect(await readable(dataDir)).toContain(blobPath(dataDir, digest));

      const server = await serve(hub, dataDir);
      await server.waitForLog(({ msg }) => msg === 'data closed to other users', 'what was mended');
      expect(await readable(dataDir)).toBe('');
      for (const when of ['beside the server', 'when it has ended']) {
        for (const command of READING) {
          const outcome = await runAsNobody(command, { dataDir, upstreamUrl: hub.url });
          expect.soft(outcome.status, `${command.join(' ')}, ${when}`).not.toBe(0);
          expect.soft(outcome.stdout.toString(), `${command.join(' ')}, ${when}`).toBe('');
          expect.soft(outcome.stderr).toMatch(/^pierhead: .*(?:permission|another user).*\n$/);
        }
        await server.stop();
      }
      expect((await stat(dataDir)).mode & 0o777).toBe(0o755);
    },
  );

  it('reads nothing that is made under the widest umask', { timeout: COMMANDS_MS }, async () => {
    const hub = await filledHub();
    const dataDir = await openDataDir();
    const command = [MAIN, 'warm', 'plain', '--data-dir', dataDir, '--upstream', hub.url];
    await run({ program: 'sh', args: ['-c', 'umask 000 && exec "$@"', 'sh', process.execPath, ...command] });
    expect(await openPaths(dataDir)).toEqual([]);
    const server = await serve(hub, dataDir);
    await pull(server);
    expect(await openPaths(dataDir)).toEqual([]);
  });

  it(
    'could read no file of a blob that `verify` has looked at, wherever the file were',
    { timeout: COMMANDS_MS },
    async () => {
      const hub = await filledHub();
      const dataDir = await openDataDir();
      const server = await serve(hub, dataDir);
      await pull(server);
      await openToAll(dataDir);
      expect((await runCommand(['verify'], { dataDir, upstreamUrl: hub.url })).status).toBe(0);
      expect((await stat(blobPath(dataDir, digest))).mode & 0o777).toBe(0o600);
      await server.stop();
      expect((await runCommand(['verify'], { dataDir, upstreamUrl: hub.url })).status).toBe(0);
      expect(await openPaths(dataDir)).toEqual([]);
    },
  );
});
