import { readdir, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OpenFiles, type Lease, type OpenFilesOptions } from '../../../src/store/blob/open-files.ts';
import { SharedBlocks } from '../../../src/store/part/blocks.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';

async function setUp(options: Partial<OpenFilesOptions> = {}) {
  const folder = await testFolder();
  const sizes = { maxContentBytes: 0, maxContentsBytes: 0 };
  const blocks = new SharedBlocks();
  const files = new OpenFiles({ maxIdle: 2, idleMs: 100_000, blocks, ...sizes, ...options });
  onTestFinished(() => files.close());
  const path = (name: string) => join(folder, name);
  for (const name of ['a', 'b', 'c']) await writeFile(path(name), `content of ${name}`);
  const openNames = async () => {
    const links = await readdir('/proc/self/fd');
    const targets = await Promise.all(links.map((link) => readlink(`/proc/self/fd/${link}`).catch(() => '')));
    return targets
      .filter((target) => target.startsWith(folder))
      .map((target) => target.slice(folder.length + 1));
  };
  return { files, path, openNames };
}

async function textOf(lease: Lease): Promise<string> {
  const buffer = Buffer.alloc(100);
  return buffer.toString('utf8', 0, await lease.read(buffer, 100, 0));
}

describe('files that stay open', () => {
  it('are opened once for all who read them at a time and soon after', async () => {
    const { files, path, openNames } = await setUp();
    const [one, two] = await Promise.all([files.lease(path('a')), files.lease(path('a'))]);
    expect(await textOf(one)).toBe('content of a');
    one.release();
    one.release();
    expect(await textOf(two)).toBe('content of a');
    two.release();
    expect(await openNames()).toEqual(['a']);
    (await files.lease(path('a'))).release();
    expect(await openNames()).toEqual(['a']);
  });

  it('are closed when they have been idle for a while', async () => {
    const { files, path, openNames } = await setUp({ maxIdle: 2, idleMs: 20 });
    const held = await files.lease(path('b'));
    (await files.lease(path('a'))).release();
    await eventually(async () => (await openNames()).join() === 'b', 'the idle file to be closed');
    held.release();
    await eventually(async () => (await openNames()).length === 0, 'the other one to be closed');
  });

  it('are so many at most, those left that were read last', async () => {
    const { files, path, openNames } = await setUp();
    for (const name of ['a', 'b', 'a', 'c']) (await files.lease(path(name))).release();
    await eventually(async () => (await openNames()).sort().join() === 'a,c', 'one of three to be closed');
  });

  it('are read to the end by those who have them, and opened anew by others, once they are forgotten', async () => {
    const { files, path, openNames } = await setUp();
    const old = await files.lease(path('a'));
    await rm(path('a'));
    await writeFile(path('a'), 'something new');
    files.forget(path('a'));
    const fresh = await files.lease(path('a'));
    expect(await textOf(old)).toBe('content of a');
    expect(await textOf(fresh)).toBe('something new');
    old.release();
    fresh.release();
    await eventually(async () => (await openNames()).join() === 'a', 'the old file to be closed');
  });

  it('tell their size as it is now, and that they are missing', async () => {
    const { files, path } = await setUp();
    (await files.lease(path('a'))).release();
    await truncate(path('a'), 3);
    const short = await files.lease(path('a'));
    expect(short.size).toBe(3);
    short.release();
    await expect(files.lease(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(files.lease(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('small files', () => {
  const small = { maxContentBytes: 13, maxContentsBytes: 30 };

  it('stay in memory and not open, for as long as large ones would stay open', async () => {
    const { files, path, openNames } = await setUp({ ...small, maxIdle: 1 });
    const lease = await files.lease(path('a'));
    expect(String(lease.content)).toBe('content of a');
    expect(await textOf(lease)).toBe('content of a');
    expect(await openNames()).toEqual([]);
    await writeFile(path('a'), 'something new');
    const held = await files.lease(path('a'));
    expect(String(held.content)).toBe('content of a');
    held.release();
    lease.release();
    (await files.lease(path('b'))).release();
    expect(String((await files.lease(path('a'))).content)).toBe('something new');
  });

  it('take so much at most, and as much again when others have gone', async () => {
    const { files, path, openNames } = await setUp(small);
    const [one, two] = await Promise.all([files.lease(path('a')), files.lease(path('b'))]);
    const third = await files.lease(path('c'));
    expect([one.content?.length, two.content?.length, third.content]).toEqual([12, 12, undefined]);
    expect(await textOf(third)).toBe('content of c');
    expect(await openNames()).toEqual(['c']);
    for (const lease of [one, third]) lease.release();
    for (const name of ['a', 'c']) files.forget(path(name));
    await eventually(async () => (await openNames()).length === 0, 'the open one to be closed');
    expect((await files.lease(path('c'))).content?.length).toBe(12);
  });

  it('end where they ended when they were opened', async () => {
    const { files, path } = await setUp(small);
    const lease = await files.lease(path('a'));
    const buffer = Buffer.alloc(100);
    expect(await lease.read(buffer, 4, 8)).toBe(4);
    expect(buffer.toString('utf8', 0, 4)).toBe('of a');
    expect(await lease.read(buffer, 4, 12)).toBe(0);
  });
});
