import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, statSync, symlinkSync } from 'node:fs';
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { controlSocket, DataDirError, dataDirState, takeDataDir } from '../../src/store/data-dir.ts';
import { closePath } from '../../src/store/owner-only.ts';
import { makePipe } from '../support/pipe.ts';
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
    expect(await readdir(dataDir)).toEqual(['blobs', 'index', 'parts', 'version']);
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
    expect(await readdir(dataDir)).toEqual(['blobs', 'index', 'parts', 'version']);
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

  it('whose version found no room when it was made is taken all the same', async () => {
    const dataDir = await testFolder();
    await writeFile(join(dataDir, 'version'), '');
    await (await takeDataDir(dataDir)).release();
    expect(await readFile(join(dataDir, 'version'), 'utf8')).toBe('2\n');
  });

  it('waits for no FIFO in the place of its version', async () => {
    const dataDir = await testFolder();
    makePipe(join(dataDir, 'version'));
    await (await takeDataDir(dataDir)).release();
    expect(await readFile(join(dataDir, 'version'), 'utf8')).toBe('2\n');
  });
});

describe('what other users could read of a data directory', () => {
  const modeOf = async (path: string): Promise<number> => (await lstat(path)).mode & 0o777;

  it('is closed to them when it is taken, the mode of the directory itself left as its maker wanted it', async () => {
    const dataDir = await testFolder();
    await chmod(dataDir, 0o755);
    const folders = ['index', 'blobs', 'blobs/sha256', 'parts'].map((name) => join(dataDir, name));
    for (const folder of folders) await mkdir(folder);
    const files = ['version', 'index/data.mdb'].map((name) => join(dataDir, name));
    for (const file of files) await writeFile(file, file.endsWith('version') ? '2\n' : '');
    for (const path of [...folders, ...files]) await chmod(path, 0o777);
    const lock = await takeDataDir(dataDir);
    expect(lock.exposed).toEqual({
      mended: expect.arrayContaining([...folders, ...files]) as unknown,
      left: [],
    });
    for (const folder of folders) expect(await modeOf(folder)).toBe(0o700);
    for (const file of files) expect(await modeOf(file)).toBe(0o700);
    expect(await modeOf(dataDir)).toBe(0o755);
    await lock.release();
    const again = await takeDataDir(dataDir);
    expect(again.exposed).toEqual({ mended: [], left: [] });
    await again.release();
  });

  it('is not closed through a link that somebody puts there meanwhile', async () => {
    const folder = await testFolder();
    const path = join(folder, 'blobs');
    const aside = join(folder, 'aside');
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(elsewhere);
    await chmod(elsewhere, 0o755);
    for (let attempt = 0; attempt < 200; attempt++) {
      await mkdir(path);
      await chmod(path, 0o755);
      const closing = closePath(path);
      for (let wait = 0; wait < attempt; wait++) statSync(path);
      renameSync(path, aside);
      symlinkSync(elsewhere, path);
      await closing;
      await rm(path);
      await rm(aside, { recursive: true });
    }
    expect(await modeOf(elsewhere)).toBe(0o755);
  });

  it('is not closed through a link, which may lead to what is not of Pierhead', async () => {
    const folder = await testFolder();
    const dataDir = join(folder, 'data');
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(dataDir);
    await mkdir(join(elsewhere, 'sha256'), { recursive: true });
    await chmod(elsewhere, 0o755);
    await symlink(elsewhere, join(dataDir, 'blobs'));
    await (await takeDataDir(dataDir)).release();
    expect(await modeOf(elsewhere)).toBe(0o755);
    expect(await modeOf(join(elsewhere, 'sha256'))).toBe(0o700);
  });
});

describe('the state of a data directory', () => {
  it.each([
    ['is empty if there is no such folder', undefined, 'empty'],
    ['is empty if nothing is in it', [], 'empty'],
    ['is empty if it holds what a new file system holds', ['lost+found', '..data'], 'empty'],
    ['is empty if a server has not got further than its version', ['version', 'control.sock'], 'empty'],
    ['is that of others if it holds something else', ['notes.txt'], 'foreign'],
  ] as const)('%s', async (_name, files, state) => {
    const dataDir = join(await testFolder(), 'data');
    if (files !== undefined) await mkdir(dataDir);
    for (const file of files ?? []) await writeFile(join(dataDir, file), '');
    expect(await dataDirState(dataDir)).toBe(state);
  });

  it('is not told of a newer layout, which this program cannot read', async () => {
    const dataDir = await testFolder();
    await writeFile(join(dataDir, 'version'), '99\n');
    await expect(dataDirState(dataDir)).rejects.toMatchObject({ code: 'version' });
  });
});

describe('a data directory that cannot be had', () => {
  it.each([
    ['is a file', 'file', 'a file is in its place'],
    ['is below a file', 'file/data', 'a file is in its place'],
    ['has a name that is too long', 'n'.repeat(300), 'its name is too long'],
    ['is a link that leads nowhere', 'dangling', 'set --data-dir to a folder on a local disk'],
    ['is a link to itself', 'loop', 'set --data-dir to a folder on a local disk'],
    ['is on a file system that takes no folders', '/proc/data', 'set --data-dir to a folder on a local disk'],
  ])('is refused with a sentence if it %s', async (_what, name, reason) => {
    const folder = await testFolder();
    await writeFile(join(folder, 'file'), '');
    await symlink('nowhere', join(folder, 'dangling'));
    await symlink('loop', join(folder, 'loop'));
    const dataDir = resolve(folder, name);
    const refused = await takeDataDir(dataDir).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DataDirError);
    expect(refused).toMatchObject({ code: 'unusable', message: expect.stringContaining(reason) as unknown });
    expect((refused as DataDirError).message).toContain(dataDir.slice(0, 200));
    expect((refused as DataDirError).message).toMatch(/^[^\n{]*--data-dir[^\n{]*$/);
  });
});
