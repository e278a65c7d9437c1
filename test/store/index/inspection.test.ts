import { writeSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { IndexError } from '../../../src/store/index/environment.ts';
import { inspectIndex } from '../../../src/store/index/inspection.ts';
import { HEADER_BYTES, readBranch, readLeaf, readMetas, type Tree } from '../../../src/store/index/pages.ts';
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

/** The newest meta page, as the file was closed. */
function newestMeta(bytes: Buffer) {
  const [first, second] = readMetas(bytes, PAGE_BYTES);
  return first.transaction > second.transaction ? { at: 0, ...first } : { at: PAGE_BYTES, ...second };
}

/** Damages the branches or the leaf that lead to the first key of a tree. */
function inTree(
  choose: (meta: ReturnType<typeof newestMeta>, bytes: Buffer) => Tree | undefined,
  kind: 'branch' | 'leaf',
  damage: (page: Buffer) => void,
) {
  return (bytes: Buffer): Buffer => {
    const meta = newestMeta(bytes);
    const pageOf = (number: number) => bytes.subarray(number * PAGE_BYTES, (number + 1) * PAGE_BYTES);
    const { root, depth } = choose(meta, bytes) ?? { root: 0, depth: 0 };
    let page = root;
    for (let level = 1; level < depth; level++) {
      const [first] = readBranch(pageOf(page), page, meta);
      if (kind === 'branch') damage(pageOf(page));
      page = first?.page ?? 0;
    }
    if (kind === 'leaf') damage(pageOf(page));
    else expect(depth).toBeGreaterThan(1);
    return bytes;
  };
}

const freePages = (meta: ReturnType<typeof newestMeta>) => meta.freePages;

/** A table with a tree of more than one level. */
function highTable({ tables, ...meta }: ReturnType<typeof newestMeta>, bytes: Buffer): Tree | undefined {
  const page = bytes.subarray(tables.root * PAGE_BYTES, (tables.root + 1) * PAGE_BYTES);
  return readLeaf(page, tables.root, { tables, ...meta }).tables.find(({ depth }) => depth > 1);
}

/** Where the nodes of a page begin, in the order of their keys. */
function nodesOf(page: Buffer): number[] {
  const count = page.readUInt16LE(20) / 2;
  return Array.from(
    { length: count },
    (_, index) => HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + 2 * index),
  );
}

function swapFirst(page: Buffer): void {
  const [first, second] = [page.readUInt16LE(HEADER_BYTES), page.readUInt16LE(HEADER_BYTES + 2)];
  page.writeUInt16LE(second, HEADER_BYTES);
  page.writeUInt16LE(first, HEADER_BYTES + 2);
}

/** Leaves one node in a page, with this head, a key of so many bytes, and no value. */
function leaveOne(page: Buffer, head: Buffer, keyBytes: number): void {
  const upper = PAGE_BYTES - HEADER_BYTES - 8 - keyBytes;
  head.copy(page, HEADER_BYTES + upper);
  page.writeUInt16LE(keyBytes, HEADER_BYTES + upper + 6);
  page.writeUInt16LE(2, 20);
  page.writeUInt16LE(upper, 22);
  page.writeUInt16LE(upper, HEADER_BYTES);
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

  // LMDB opens such an index, and may end the process then or when it reads or changes it.
  it.each([
    ['a flag of encryption', (bytes: Buffer) => flipped(bytes, 24 + 29, 0x20)],
    [
      'a flag of encryption in its other meta page',
      (bytes: Buffer) => flipped(bytes, PAGE_BYTES + 24 + 29, 0x20),
    ],
    ['free pages with duplicate keys', (bytes: Buffer) => flipped(bytes, 24 + 28, 0x04)],
    ['a list of tables with duplicate keys', (bytes: Buffer) => flipped(bytes, 24 + 76, 0x04)],
    ['another page size where it was synced', (bytes: Buffer) => flipped(bytes, PAGE_BYTES / 2 + 49, 0x30)],
    [
      'a wrong root where it was not synced',
      (bytes: Buffer) => {
        const { at } = newestMeta(bytes);
        bytes.writeUInt32LE(1, at + 24 + 72 + 40);
        return flipped(bytes, at + 24 + 136, 1);
      },
    ],
    [
      'a table of values with versions',
      (bytes: Buffer) => {
        const name = Buffer.from('manifests\0');
        for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) {
          bytes.writeUInt16LE(0x100, at + name.length + 4);
        }
        return bytes;
      },
    ],
    ['free pages out of order', inTree(freePages, 'leaf', swapFirst)],
    ['tables out of order', inTree((meta) => meta.tables, 'leaf', swapFirst)],
    [
      'a value where a table should be',
      inTree(
        (meta) => meta.tables,
        'leaf',
        (page) => page.writeUInt16LE(0, (nodesOf(page)[0] ?? 0) + 4),
      ),
    ],
    [
      'free pages of a transaction that was not',
      inTree(freePages, 'leaf', (page) => {
        page.writeUInt32LE(1_000_000, (nodesOf(page).at(-1) ?? 0) + 8);
      }),
    ],
    [
      'a page that is free twice',
      inTree(freePages, 'leaf', (page) => {
        const lists = nodesOf(page).map((at) => at + 16);
        const list =
          lists.find((at) => page.readBigInt64LE(at) > 1n && page.readBigInt64LE(at + 16) > 0n) ?? 0;
        page.copy(page, list + 8, list + 16, list + 24);
      }),
    ],
    [
      'a branch with one child',
      inTree(highTable, 'branch', (page) => {
        const [at = 0] = nodesOf(page);
        leaveOne(page, Buffer.from(page.subarray(at, at + 8)), 0);
      }),
    ],
    ['a key that is too long', inTree(highTable, 'leaf', (page) => leaveOne(page, Buffer.alloc(8), 2000))],
    ['a key without bytes', inTree(highTable, 'leaf', (page) => leaveOne(page, Buffer.alloc(8), 0))],
  ])('is damaged if it has %s', async (_what, change) => {
    const dataDir = await usedDataDir();
    await rewriteIndex(dataDir, change);
    expect(await inspect(dataDir)).toMatch(/page|flags/);
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
