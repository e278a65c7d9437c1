import { writeSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { IndexError } from '../../../src/store/index/environment.ts';
import { inspectIndex } from '../../../src/store/index/inspection.ts';
import { HEADER_BYTES } from '../../../src/store/index/pages.ts';
import { openIndex, readIndex } from '../../../src/store/manifest/lmdb.ts';
import { manifest } from '../manifests.contract.ts';
import { makePipe } from '../../support/pipe.ts';
import { fillIndex, flipped, indexFile, PAGE_BYTES, rewriteIndex } from '../../support/raw-index.ts';
import { testFolder } from '../../support/temp.ts';

/** Of a data directory whose index has seen work. */
async function usedDataDir(): Promise<string> {
  const dataDir = await testFolder();
  await fillIndex(dataDir);
  return dataDir;
}

const inspect = (dataDir: string) => inspectIndex(join(dataDir, 'index'), 'owner');

describe('an index that is looked at before it is opened', () => {
  it('is sound after any work, and where there is none', async () => {
    const dataDir = await usedDataDir();
    expect(await inspect(dataDir)).toBeUndefined();
    expect(await inspect(await testFolder())).toBeUndefined();
    await writeFile(indexFile(dataDir), '');
    expect(await inspect(dataDir)).toBeUndefined();
  });

  it('is sound to a reader beside an owner who writes without end', async () => {
    const dataDir = await testFolder();
    const index = openIndex(join(dataDir, 'index'));
    const { environment, manifests } = index.tables;
    const read = new AbortController();
    const writing = (async () => {
      for (let at = 0; !read.signal.aborted; at++) {
        await environment.write(() => {
          for (let each = 0; each < 20; each++) manifests.put(manifest(`${at % 7}/${each}`), at);
          for (const digest of manifests.page(10)) manifests.remove(digest);
        });
      }
    })();
    for (let look = 0; look < 30; look++) {
      const reader = await readIndex(dataDir);
      await reader.close();
    }
    read.abort();
    await writing;
    await index.close();
  });

  it('is not called damaged by a reader whose owner writes quicker than anybody can look', async () => {
    const dataDir = await usedDataDir();
    const bytes = await readFile(indexFile(dataDir));
    await writeFile(indexFile(dataDir), bytes.fill(0, 2 * PAGE_BYTES));
    expect(await inspectIndex(join(dataDir, 'index'), 'reader')).toMatch(/page \d+ is damaged/);
    // What a commit changes of a meta page: the number of its transaction.
    const file = await open(indexFile(dataDir), 'r+');
    const isLooking = { yet: true };
    const writing = (async () => {
      for (let commit = 1; isLooking.yet; commit++) {
        const number = Buffer.alloc(8);
        number.writeBigUInt64LE(BigInt(1000 + 2 * commit));
        writeSync(file.fd, number, 0, 8, HEADER_BYTES + 128);
        await turn();
      }
    })();
    const damage = await inspectIndex(join(dataDir, 'index'), 'reader');
    isLooking.yet = false;
    await writing;
    await file.close();
    expect(damage).toBeUndefined();
  });

  it('is damaged where a page is missing, and sound where only free ones are', async () => {
    const dataDir = await usedDataDir();
    const whole = await readFile(indexFile(dataDir));
    const found = new Set<string>();
    for (let pages = 1; pages < whole.length / PAGE_BYTES; pages++) {
      await writeFile(indexFile(dataDir), whole.subarray(0, pages * PAGE_BYTES));
      found.add((await inspect(dataDir))?.replace(/\d+/g, 'N') ?? 'sound');
    }
    for (const bytes of [1, 23, 4095, 4097, 8191, whole.length - PAGE_BYTES - 1]) {
      await writeFile(indexFile(dataDir), whole.subarray(0, bytes));
      expect(await inspect(dataDir), `${bytes} bytes`).toMatch(/too short|missing|page/);
    }
    expect([...found].sort()).toEqual(
      expect.arrayContaining(['page N is missing: the file ends after N bytes', 'the file is too short']),
    );
  });

  it.each([
    ['zeros', (bytes: Buffer) => Buffer.alloc(bytes.length)],
    ['garbage', (bytes: Buffer) => Buffer.from(bytes.map((_, at) => (at * 7919) & 255))],
    ['a text', () => Buffer.from('hello\n'.repeat(2000))],
    ['its pages in another order', (bytes: Buffer) => Buffer.concat([bytes.subarray(PAGE_BYTES), bytes])],
    ['zeros after its meta pages', (bytes: Buffer) => bytes.fill(0, 2 * PAGE_BYTES)],
    ['another page size', (bytes: Buffer) => flipped(bytes, 24 + 24 + 1, 0x30)],
    ['another version', (bytes: Buffer) => flipped(bytes, 24 + 4, 1)],
    ['a second meta page that is none', (bytes: Buffer) => flipped(bytes, PAGE_BYTES + 24, 1)],
  ])('is damaged if its file holds %s', async (_what, change) => {
    const dataDir = await usedDataDir();
    await rewriteIndex(dataDir, change);
    expect(await inspect(dataDir)).toMatch(/page|LMDB/);
  });

  it.each([
    ['a folder', (path: string) => mkdir(path)],
    ['a pipe', (path: string) => Promise.resolve(makePipe(path))],
    ['a device', (path: string) => symlink('/dev/zero', path)],
    ['a link to itself', (path: string) => symlink(path, path)],
  ])("is damaged, and nobody waits, if in its place, or its file's, there is %s", async (what, make) => {
    for (const name of ['data.mdb', '.']) {
      const dataDir = await usedDataDir();
      const path = join(dataDir, 'index', name);
      await rm(path, { recursive: true });
      await make(path);
      const isNewFolder = name === '.' && what === 'a folder';
      expect(await inspect(dataDir)).toEqual(
        isNewFolder ? undefined : expect.stringMatching(/not a file|cannot be read/),
      );
    }
  });

  it('that is damaged is one sentence to who only reads, and is left alone', async () => {
    const dataDir = await usedDataDir();
    await truncate(indexFile(dataDir), 3 * PAGE_BYTES);
    await expect(readIndex(dataDir)).rejects.toThrow(IndexError);
    await expect(readIndex(dataDir)).rejects.toThrow(/^the index at .* is damaged: .*[^.]$/);
    expect((await stat(indexFile(dataDir))).size).toBe(3 * PAGE_BYTES);
  });
});
