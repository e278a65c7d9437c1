import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeTarHeader, parseTarHeader } from '../../src/bundle/tar.ts';
import { TarReader } from '../../src/bundle/tar-reader.ts';
import { run } from '../support/commands.ts';
import { archiveOf, chunksOf } from '../support/bundles.ts';
import { testFolder } from '../support/temp.ts';

const files = [
  { name: 'empty', bytes: Buffer.alloc(0) },
  { name: 'folder/one', bytes: Buffer.from('1') },
  { name: 'block', bytes: Buffer.alloc(512, 'b') },
  { name: `blobs/sha512/${'0123456789abcdef'.repeat(8)}`, bytes: Buffer.from('long') },
  { name: 'more', bytes: Buffer.alloc(5000, 'm') },
];

async function read(archive: Buffer): Promise<{ name: string; bytes: Buffer }[]> {
  const reader = new TarReader(chunksOf(archive));
  const found: { name: string; bytes: Buffer }[] = [];
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    found.push({ name: entry.name, bytes: (await reader.whole(10_000)) ?? Buffer.from('too large') });
  }
  return found;
}

describe('an archive', () => {
  it('is what tar reads and writes', async () => {
    const folder = await testFolder();
    await writeFile(join(folder, 'ours.tar'), archiveOf(files));
    const { stdout } = await run({ program: 'tar', args: ['-tvf', join(folder, 'ours.tar')] });
    expect(stdout.toString()).toMatch(/^-rw-r--r-- 0\/0 +0 1970-01-01 \d\d:\d\d empty$/m);
    await run({ program: 'tar', args: ['-xf', join(folder, 'ours.tar'), '-C', folder] });
    expect((await readFile(join(folder, 'folder/one'))).toString()).toBe('1');
    const names = files.map(({ name }) => name);
    await run({ program: 'tar', args: ['-cf', 'theirs.tar', '--format=pax', ...names], cwd: folder });
    expect(await read(await readFile(join(folder, 'theirs.tar')))).toEqual(files);
  });

  it('is read in whatever pieces it comes, and whether or not a file is read to its end', async () => {
    expect(await read(archiveOf(files))).toEqual(files);
    const reader = new TarReader(chunksOf(archiveOf(files)));
    const names: string[] = [];
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next())
      names.push(entry.name);
    expect(names).toEqual(files.map(({ name }) => name));
  });

  it('holds files of more than 8 GiB, which octal digits cannot tell', () => {
    for (const size of [0, 1, 8 ** 11 - 1, 8 ** 11, 123_456_789_012_345]) {
      expect(parseTarHeader(encodeTarHeader({ name: 'large', size }))).toEqual({
        kind: 'file',
        name: 'large',
        size,
      });
    }
  });

  it('has no header that says something else once a byte of it was changed', () => {
    const entry = { name: 'blobs/sha256/abc', size: 1234 };
    const header = encodeTarHeader(entry);
    for (let at = 0; at < header.length; at++) {
      const changed = Buffer.from(header);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x15, at);
      const found = parseTarHeader(changed);
      if (found !== undefined) expect(found, `byte ${at}`).toEqual({ kind: 'file', ...entry });
    }
  });

  it('holds files whose names are too long for a header', async () => {
    for (const length of [99, 100, 101, 490, 989, 990, 991, 3000]) {
      const file = { name: 'n'.repeat(length), bytes: Buffer.from(String(length)) };
      expect(await read(archiveOf([file]))).toEqual([file]);
    }
  });

  it('holds plain files alone', async () => {
    const folder = await testFolder();
    await symlink('/etc/passwd', join(folder, 'link'));
    await run({ program: 'tar', args: ['-cf', 'links.tar', 'link'], cwd: folder });
    await expect(read(await readFile(join(folder, 'links.tar')))).rejects.toMatchObject({ code: 'corrupt' });
  });

  it('does not give more than was asked for', async () => {
    const reader = new TarReader(chunksOf(archiveOf(files.slice(-1))));
    await reader.next();
    expect(await reader.whole(4999)).toBeUndefined();
  });
});
