import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { controlSocket, takeDataDir } from '../../src/store/data-dir.ts';
import { testFolder } from '../support/temp.ts';
import { eventually, withDeadline } from '../support/wait.ts';

const HOLDER = `
  const { takeDataDir } = await import(process.argv[2]);
  try { await takeDataDir(process.argv[3]); process.send('taken'); setInterval(() => {}, 1000); }
  catch (error) { process.send(error.code); process.disconnect(); }
`;

/** Another process that takes the directory; resolves to what it says of that. */
async function takeInAnotherProcess(dataDir: string): Promise<{ said: unknown; child: ChildProcess }> {
  const script = join(await testFolder(), 'holder.mjs');
  await writeFile(script, HOLDER);
  const module = new URL('../../dist/store/data-dir.js', import.meta.url).href;
  const child = fork(script, [module, dataDir]);
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [said] = (await withDeadline(once(child, 'message'), 'the other process')) as [unknown];
  return { said, child };
}

describe('a data directory', () => {
  it('has one owner at a time', async () => {
    const dataDir = join(await testFolder(), 'data');
    const lock = await takeDataDir(dataDir);
    await expect(takeDataDir(dataDir)).rejects.toMatchObject({ code: 'owned' });
    await lock.release();
    await (await takeDataDir(dataDir)).release();
    expect(await readdir(dataDir)).toEqual(['version']);
  });

  it('is for its own user alone, if it had to be made', async () => {
    const dataDir = join(await testFolder(), 'data');
    const lock = await takeDataDir(dataDir);
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
    await lock.release();
  });

  it('has the same owner again after its lock was removed', async () => {
    const dataDir = await testFolder();
    const lock = await takeDataDir(dataDir);
    for (let time = 0; time < 2; time++) {
      await rm(controlSocket(dataDir));
      await eventually(() => existsSync(controlSocket(dataDir)), 'the lock');
      await expect(takeDataDir(dataDir)).rejects.toMatchObject({ code: 'owned' });
    }
    await lock.release();
    expect(await readdir(dataDir)).toEqual(['version']);
    await (await takeDataDir(dataDir)).release();
  });

  it('has one owner although many come at once', async () => {
    const dataDir = await testFolder();
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => takeDataDir(dataDir)));
    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(locks).toHaveLength(1);
    await locks[0]?.release();
  });

  it('is free again when its owner was killed', async () => {
    const dataDir = await testFolder();
    const { said, child } = await takeInAnotherProcess(dataDir);
    expect(said).toBe('taken');
    await expect(takeDataDir(dataDir)).rejects.toMatchObject({ code: 'owned' });
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await withDeadline(gone, 'the end of the owner');
    await (await takeDataDir(dataDir)).release();
  });

  it('is held against other processes', async () => {
    const dataDir = await testFolder();
    const lock = await takeDataDir(dataDir);
    expect((await takeInAnotherProcess(dataDir)).said).toBe('owned');
    await lock.release();
  });

  it('may have a path that is longer than a socket address', async () => {
    const dataDir = join(await testFolder(), 'd'.repeat(120));
    await mkdir(dataDir);
    const lock = await takeDataDir(dataDir);
    await expect(takeDataDir(dataDir)).rejects.toMatchObject({ code: 'owned' });
    await lock.release();
  });

  it('of another layout is refused and left alone', async () => {
    const dataDir = await testFolder();
    await writeFile(join(dataDir, 'version'), '99\n');
    await expect(takeDataDir(dataDir)).rejects.toMatchObject({ code: 'version' });
    expect(await readdir(dataDir)).toEqual(['version']);
  });

  it('that cannot be made is refused with its path', async () => {
    const file = join(await testFolder(), 'file');
    await writeFile(file, '');
    await expect(takeDataDir(join(file, 'data'))).rejects.toThrow(join(file, 'data'));
  });
});
