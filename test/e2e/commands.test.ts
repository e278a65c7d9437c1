import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FakeHub } from '../fake/hub.ts';
import { blobPath } from '../../src/store/part/layout.ts';
import { bigBlob, hubWith, MIB } from '../support/big-blob.ts';
import { runCommand, startCommand } from '../support/command.ts';
import { attempt } from '../support/commands.ts';
import { fetchRaw } from '../support/http.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { MAIN } from '../support/program.ts';
import { rot, storedBytes } from '../support/stored-files.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const big = bigBlob({ size: 24 * MIB + 9, seed: 61 });
const { digest } = big.content;

async function serve(hub: FakeHub, dataDir: string): Promise<Pierhead> {
  const settings = { SCRUB_INTERVAL: 'off' };
  const server = await startPierhead({ upstreamUrl: hub.url, dataDir, settings });
  onTestFinished(() => server.close());
  return server;
}

/** A data directory that holds the big blob, a server that runs on it, and how to run commands there. */
async function filled() {
  const hub = await hubWith(big);
  const dataDir = join(await testFolder(), 'data');
  const server = await serve(hub, dataDir);
  await fetchRaw(`${server.url}/v2/library/big/manifests/latest`);
  await fetchRaw(`${server.url}${big.target}`);
  const isStored = async () =>
    (await fetchRaw(`${server.url}${big.target}`, { method: 'HEAD' })).header('cache-status');
  await eventually(async () => (await isStored()) === 'pierhead; hit', 'the blob to be stored');
  hub.reset();
  const options = { dataDir, upstreamUrl: hub.url };
  return {
    get: (target: string) => fetchRaw(`${server.url}${target}`),
    hub,
    dataDir,
    server,
    run: (...args: string[]) => runCommand(args, options),
    start: (...args: string[]) => startCommand(args, options),
  };
}

const SOUND = /^1 blob and 1 manifest, 25 MB in .* \(.*\/s\): all sound\n$/;

describe('`pierhead verify`', () => {
  it('says the same beside a server and without one', async () => {
    const { run, server } = await filled();
    const beside = await run('verify');
    expect(beside).toMatchObject({ status: 0, stderr: '' });
    expect(beside.stdout.toString()).toMatch(SOUND);
    await server.stop();
    const alone = await run('verify');
    expect(alone).toMatchObject({ status: 0, stderr: '' });
    expect(alone.stdout.toString()).toMatch(SOUND);
  });

  it.each(['beside a server', 'without a server'])(
    'finds, repairs and reports what is corrupt %s',
    async (how) => {
      const { run, server, dataDir, hub } = await filled();
      if (how === 'without a server') await server.stop();
      await rot(dataDir, digest);
      const found = await run('verify', '--json');
      expect(found.status).toBe(1);
      expect(JSON.parse(found.stdout.toString())).toMatchObject({
        problems: 1,
        findings: [{ digest, problem: 'corrupt', repositories: ['docker.io/library/big'], outcome: 'found' }],
      });
      const repaired = await run('verify', '--repair');
      expect(repaired.status).toBe(0);
      expect(repaired.stdout.toString()).toContain('1 problem, 1 repaired');
      expect((await storedBytes(dataDir, digest))?.equals(big.whole)).toBe(true);
      expect(hub.bytesSent(digest)).toBe(big.content.size);
      expect((await run('verify')).stdout.toString()).toMatch(SOUND);
    },
  );

  it('takes the data directory of a server that was killed, and leaves it free', async () => {
    const { run, server, hub, dataDir } = await filled();
    await server.kill();
    await rm(blobPath(dataDir, digest));
    const outcome = await run('verify', '--repair');
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    const next = await serve(hub, dataDir);
    const answer = await fetchRaw(`${next.url}${big.target}`);
    expect(answer.header('cache-status')).toBe('pierhead; hit');
    expect(answer.body.equals(big.whole)).toBe(true);
  });

  it('ends when it is interrupted, having lost nothing that it does not name', async () => {
    const { start, hub, server, dataDir } = await filled();
    await server.stop();
    await rot(dataDir, digest);
    const gate = hub.holdBlob(digest, 4 * MIB);
    const command = start('verify', '--repair');
    await gate.reached;
    command.signal('SIGINT');
    expect(await command.ended()).toBe(1);
    expect(command.stderr).toBe('pierhead: interrupted\n');
    expect(command.stdout).toContain('removed: interrupted before the new download ended');
    gate.release();
    const next = await serve(hub, dataDir);
    expect((await fetchRaw(`${next.url}${big.target}`)).body.equals(big.whole)).toBe(true);
  });

  it('is interrupted beside a server without harm to the server', async () => {
    const { start, hub, server, dataDir } = await filled();
    await rot(dataDir, digest);
    const gate = hub.holdBlob(digest, 4 * MIB);
    const command = start('verify', '--repair');
    await gate.reached;
    command.signal('SIGINT');
    expect(await command.ended()).toBe(1);
    expect(command.stderr).toBe('pierhead: interrupted\n');
    gate.release();
    expect((await fetchRaw(`${server.url}${big.target}`)).body.equals(big.whole)).toBe(true);
  });

  it('can be run twice at once without a server: one owns the folder, the other is told that it is busy', async () => {
    const { start, run, hub, server, dataDir } = await filled();
    await server.stop();
    await rot(dataDir, digest);
    const gate = hub.holdBlob(digest, 4 * MIB);
    const first = start('verify', '--repair');
    await gate.reached;
    const second = await run('verify');
    expect(second).toMatchObject({
      status: 1,
      stderr: 'pierhead: another verification is running; try again later\n',
    });
    gate.release();
    expect(await first.ended()).toBe(0);
  });

  it('keeps a server from starting on the same folder, and says so', async () => {
    const { start, hub, server, dataDir } = await filled();
    await server.stop();
    await rot(dataDir, digest);
    const gate = hub.holdBlob(digest, 4 * MIB);
    const command = start('verify', '--repair');
    await gate.reached;
    await expect(startPierhead({ upstreamUrl: hub.url, dataDir })).rejects.toThrow(
      'in use by another pierhead',
    );
    gate.release();
    expect(await command.ended()).toBe(0);
  });

  it('takes the settings that the server takes, and refuses others', async () => {
    const { run } = await filled();
    expect((await run('verify', '--tag-ttl', 'soon')).status).toBe(2);
    expect((await run('verify', '--explode')).status).toBe(2);
    expect((await run('verify', '--help')).stdout.toString()).toContain('--data-dir <folder>');
    expect((await run('check', '--help')).stdout.toString()).not.toContain('[]');
  });
});

describe('`pierhead images`', () => {
  it('lists the same beside a server and without one', async () => {
    const { run, server, get } = await filled();
    await get('/v2/library/golang/manifests/latest');
    const beside = await run('images');
    expect(beside).toMatchObject({ status: 0, stderr: '' });
    const lines = beside.stdout.toString().trimEnd().split('\n');
    expect(lines[0]).toMatch(/^IMAGE +DIGEST +PLATFORM +SIZE +PULLED +STATE$/);
    expect(lines[1]).toMatch(/^big:latest +sha256:[0-9a-f]{12} +.* 25 MB +just now/);
    expect(lines[2]).toMatch(/^golang:latest +sha256:[0-9a-f]{12} +index/);
    await server.stop();
    expect((await run('images')).stdout.toString()).toBe(beside.stdout.toString());
  });

  it('tells all that is known as JSON', async () => {
    const { run } = await filled();
    const outcome = await run('images', '--json');
    expect(JSON.parse(outcome.stdout.toString())).toMatchObject([
      { repository: 'docker.io/library/big', tags: ['latest'], kind: 'image', isPinned: false },
    ]);
  });
});

describe.each(['beside a server', 'without a server'])('%s', (how) => {
  async function filledHow() {
    const all = await filled();
    if (how === 'without a server') await all.server.stop();
    return all;
  }

  it('`pin` and `unpin` mark an image, `rm` spares it while it is marked', async () => {
    const { run, dataDir } = await filledHow();
    expect(await run('pin', 'big')).toMatchObject({ status: 0, stderr: '' });
    expect((await run('images')).stdout.toString()).toMatch(/^big:latest .* pinned/m);
    const spared = await run('rm', 'big:latest');
    expect(spared.status).toBe(1);
    expect(spared.stderr).toBe('pierhead: big:latest is pinned; unpin it first\n');
    expect((await run('unpin', 'docker.io/library/big')).stdout.toString()).toBe(
      'big:latest is no longer pinned\n',
    );
    expect((await run('unpin', 'big')).stdout.toString()).toBe('big:latest was not pinned\n');
    const removed = await run('rm', 'big');
    expect(removed.status).toBe(0);
    expect(removed.stdout.toString()).toMatch(
      /^big:latest is removed \(1 manifest and \d blobs?, 25 MB\)\n$/,
    );
    expect(await storedBytes(dataDir, digest)).toBeUndefined();
    expect((await run('images')).stdout.toString()).toBe('no image is cached\n');
  });

  it('an image that is not kept or that is no name is told, and the others are done all the same', async () => {
    const { run } = await filledHow();
    const unknown = await run('pin', 'nothing', 'big');
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toBe('pierhead: nothing:latest is not cached\n');
    expect(unknown.stdout.toString()).toBe('big:latest is pinned\n');
    const wrong = await run('pin', 'big', 'Big');
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toBe('pierhead: "Big" is not the name of an image\n');
    expect(wrong.stdout.toString()).toBe('big:latest is pinned\n');
    expect((await run('pin')).status).toBe(2);
  });
});

describe('`pierhead rm`', () => {
  it('lets a running server fetch the image anew when it is asked for', async () => {
    const { run, hub, get } = await filled();
    expect((await run('rm', 'big')).status).toBe(0);
    const manifest = await get('/v2/library/big/manifests/latest');
    expect(manifest.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
    expect((await get(big.target)).body.equals(big.whole)).toBe(true);
    expect(hub.bytesSent(digest)).toBe(big.content.size);
  });

  it('takes an image by its digest', async () => {
    const { run, get } = await filled();
    const manifest = await get('/v2/library/big/manifests/latest');
    expect(await run('rm', `big@${manifest.header('docker-content-digest')}`)).toMatchObject({
      status: 0,
      stderr: '',
    });
    expect((await run('images')).stdout.toString()).toBe('no image is cached\n');
  });
});

describe('`pierhead resolve`', () => {
  it('draws the same beside a server and without one, and says by its exit code if there is nothing', async () => {
    const { run, server } = await filled();
    const beside = await run('resolve', 'big');
    expect(beside).toMatchObject({ status: 0, stderr: '' });
    expect(beside.stdout.toString()).toContain('big:latest, from the cache\n');
    expect(beside.stdout.toString()).toMatch(new RegExp(`layer +${digest} +25 MB +cached`));
    await server.stop();
    const alone = await run('resolve', 'big', '--platform', 'linux/arm64', '--json');
    expect(alone.status).toBe(0);
    expect(JSON.parse(alone.stdout.toString())).toMatchObject({
      image: 'big:latest',
      choices: [{ platform: 'linux/arm64', why: 'asked for' }],
    });
    expect((await run('resolve', 'none')).status).toBe(1);
    expect((await run('resolve', 'big', '--platform', 'arm64')).status).toBe(2);
    expect((await run('resolve')).status).toBe(2);
  });
});

it.each(['config', '--help'])('`pierhead %s` says so if its output could not be written', async (word) => {
  const full = ['-c', 'exec "$0" "$@" >/dev/full', process.execPath, MAIN, word];
  const outcome = await attempt({ program: '/bin/sh', args: full });
  const stderr = expect.stringMatching(/^pierhead: the output is incomplete: ENOSPC: .*\n$/);
  expect(outcome).toMatchObject({ status: 1, stderr });
});
