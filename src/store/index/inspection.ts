import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join, basename, dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { errorCode, messageOf } from '../../lib/errors.ts';
import { DATA_FILE, IndexError } from './environment.ts';
import {
  Damage,
  FIRST_DATA_PAGE,
  HEADER_BYTES,
  IS_KNOWN_LAYOUT,
  MAX_PAGE_BYTES,
  NO_PAGE,
  pickSnapshot,
  readNumber,
  type Child,
  type Snapshot,
  type Tree,
  checkLongValue,
  entries,
  must,
  readBranch,
  readLeaf,
  type LeafContent,
  type LongValue,
} from './pages.ts';

/** Pages per turn of the event loop. */
const STEP = 500;
/** Bytes per read of the read-ahead: reading page by page makes a disk a hundred times slower. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** Pages that one transaction allocated and freed are never written, so the file may end before them. */
const MAX_UNWRITTEN_PAGES = 65_536;
/** A reader starts again if the owner wrote meanwhile. An index that an owner keeps writing to is taken as sound. */
const MAX_ATTEMPTS = 5;
const MAX_META_BYTES = 2 * MAX_PAGE_BYTES;
const FREE_PAGES_DAMAGED = 'the list of free pages is damaged';

/** The index of a data directory: a folder with LMDB's file and its lock file. */
export function indexPath(dataDir: string): string {
  return join(dataDir, 'index');
}

/**
 * Checks an index before LMDB opens it. LMDB maps the file into memory and trusts it. A missing page ends the process
 * by SIGBUS, a wrong offset by SIGSEGV; neither can be caught. So this function reads each page that a table reaches.
 * It checks the page's number and kind, that its offsets stay within it, and that no page belongs to two places.
 *
 * Returns the damage; undefined: none, or there is no index. Throws IndexError if the index cannot be read. `as`: after
 * a crash of the machine an `owner` uses the last synced transaction, as LMDB does; beside a `reader` an owner can
 * write.
 */
export async function inspectIndex(path: string, as: 'owner' | 'reader'): Promise<string | undefined> {
  // LMDB has another layout on this processor, which this check cannot read.
  if (!IS_KNOWN_LAYOUT) return undefined;
  for (let attempt = 1; ; attempt++) {
    const before = as === 'owner' ? undefined : lastTransaction(path);
    const damage = await damageOf(path, as);
    // LMDB writes no page of the last transaction before the next one ends. So without a new one the damage is real.
    if (damage === undefined || as === 'owner' || lastTransaction(path) === before) return damage;
    if (attempt === MAX_ATTEMPTS) return undefined;
  }
}

async function damageOf(path: string, as: 'owner' | 'reader'): Promise<string | undefined> {
  try {
    if (!(statSync(join(path, 'lock.mdb'), { throwIfNoEntry: false })?.isFile() ?? true)) {
      return 'lock.mdb is not a file';
    }
    const file = openData(path);
    try {
      const stats = fstatSync(file);
      if (!stats.isFile()) return `${DATA_FILE} is not a file`;
      // LMDB turns an empty file into a new index.
      if (stats.size > 0) await new Inspection(file, stats.size, snapshotOf(file, as)).run();
    } finally {
      closeSync(file);
    }
    return undefined;
  } catch (error) {
    if (error instanceof Damage) return error.message;
    return systemDamage(path, error);
  }
}

/** Errors of permissions, or those that pass, are no damage: they throw IndexError. */
function systemDamage(path: string, error: unknown): string | undefined {
  const code = errorCode(error);
  switch (code) {
    case 'ENOENT':
      return undefined;
    case 'EIO':
    case 'ELOOP':
    case 'ENOTDIR':
    case 'ENXIO':
      return `it cannot be read: ${code}`;
    default: {
      const reason = messageOf(error);
      throw new IndexError(`the index at ${path} cannot be read: ${reason}`, { cause: error });
    }
  }
}

/** The number of the last transaction; undefined: the file does not show it. */
function lastTransaction(path: string): number | undefined {
  let file: number | undefined;
  try {
    file = openData(path);
    return snapshotOf(file, 'reader').transaction;
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Without O_NONBLOCK, opening a pipe in its place would wait for a writer. */
function openData(path: string): number {
  return openSync(join(path, DATA_FILE), constants.O_RDONLY | constants.O_NONBLOCK);
}

function snapshotOf(file: number, as: 'owner' | 'reader'): Snapshot {
  const buffer = Buffer.alloc(MAX_META_BYTES);
  const start = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, 0));
  return pickSnapshot(start, as);
}

type OnLeaf = (leaf: LeafContent, page: number, bytes: Buffer) => void;

/** Of a branch: the least key that the next leaf may have. */
type OnKey = (key: Buffer, of: 'branch' | 'leaf') => void;

interface Waiting extends Child {
  readonly level: number;
}

/**
 * Throws Damage if the keys do not ascend. LMDB ends the process at such a list of free pages, and uses pages twice if
 * it does not find a table that there is. In a table it only misses entries.
 */
function inOrder(): OnKey {
  let last = Buffer.alloc(0);
  let mayRepeat = false;
  return (key, of) => {
    const difference = key.compare(last);
    if (difference < 0 || (difference === 0 && !mayRepeat))
      throw new Damage('the keys of its pages are out of order');
    last = Buffer.from(key);
    mayRepeat = of === 'branch';
  };
}

class Inspection {
  readonly #file: number;
  readonly #snapshot: Snapshot;
  readonly #filePages: number;
  readonly #fileBytes: number;
  /** One bit per page: 1 if the page is in use. */
  readonly #taken: Uint8Array;
  #looked = 0;

  constructor(file: number, fileBytes: number, snapshot: Snapshot) {
    this.#file = file;
    this.#snapshot = snapshot;
    this.#fileBytes = fileBytes;
    const { endPage, pageBytes } = snapshot;
    this.#filePages = Math.floor(fileBytes / pageBytes);
    if (endPage - this.#filePages > MAX_UNWRITTEN_PAGES) {
      throw new Damage(`it has ${endPage} pages of ${pageBytes} bytes, its file ${fileBytes} bytes`);
    }
    this.#taken = new Uint8Array(Math.ceil(endPage / 8));
  }

  async run(): Promise<void> {
    const { tables } = this.#snapshot;
    await this.#readAhead();
    const named: Tree[] = [];
    const onLeaf: OnLeaf = (leaf, page, bytes) => {
      must(leaf.tables.length === [...entries(bytes)].length, page);
      named.push(...leaf.tables);
    };
    await this.#walk(tables, onLeaf, inOrder());
    for (const table of named) {
      await this.#walk(table, (leaf, page) => must(leaf.tables.length === 0, page));
    }
    // Only after this walk all pages in use are marked.
    for (const list of await this.#readFree()) this.#takeFree(list);
  }

  /** The lists of free pages of each transaction, whose number is the key. */
  async #readFree(): Promise<Buffer[]> {
    const { freePages, transaction } = this.#snapshot;
    const lists: Buffer[] = [];
    const follow = inOrder();
    const onLeaf: OnLeaf = (leaf, page, bytes) => {
      must(leaf.tables.length === 0, page);
      for (const { value } of entries(bytes)) {
        lists.push(Buffer.isBuffer(value) ? Buffer.from(value) : this.#readLongValue(value));
      }
    };
    await this.#walk(freePages, onLeaf, (key, of) => {
      const number = key.length === 8 ? readNumber(key, 0) : 0;
      if (number === 0 || number > transaction) throw new Damage(FREE_PAGES_DAMAGED);
      follow(Buffer.from(key).swap64(), of);
    });
    return lists;
  }

  /** Fills the page cache of the system with the file. */
  async #readAhead(): Promise<void> {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, this.#fileBytes));
    for (let at = 0; at < this.#fileBytes; at += piece.length) {
      readSync(this.#file, piece, 0, piece.length, at);
      await turn();
    }
  }

  /** From the first key to the last. */
  async #walk(tree: Tree, onLeaf: OnLeaf, onKey?: OnKey): Promise<void> {
    if (tree.root === NO_PAGE) return;
    const bytes = Buffer.alloc(this.#snapshot.pageBytes);
    const waiting: Waiting[] = [{ page: tree.root, level: 1 }];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { page, level, key } = next;
      if (key !== undefined) onKey?.(key, 'branch');
      if (++this.#looked % STEP === 0) await turn();
      this.#take(page, 1);
      this.#read(bytes, page);
      if (level < tree.depth) {
        const children = readBranch(bytes, page, this.#snapshot);
        // LMDB ends the process at a branch with one child, except in the list of free pages (mdb_page_search_root).
        must(children.length > 1 || tree === this.#snapshot.freePages, page);
        for (const child of children.toReversed()) waiting.push({ ...child, level: level + 1 });
      } else {
        const leaf = readLeaf(bytes, page, this.#snapshot);
        for (const value of leaf.longValues) this.#checkLongValue(value);
        if (onKey !== undefined) for (const entry of entries(bytes)) onKey(entry.key, 'leaf');
        onLeaf(leaf, page, bytes);
      }
    }
  }

  #checkLongValue(value: LongValue): void {
    const head = Buffer.alloc(HEADER_BYTES);
    this.#take(value.page, value.pages);
    this.#read(head, value.page);
    checkLongValue(head, value, this.#snapshot);
  }

  #readLongValue({ page, bytes }: LongValue): Buffer {
    const value = Buffer.alloc(HEADER_BYTES + bytes);
    this.#read(value, page);
    return value.subarray(HEADER_BYTES);
  }

  /** A list of free pages: its length, then page numbers. `-n` before a page number stands for n pages from there. */
  #takeFree(list: Buffer): void {
    const room = Math.floor(list.length / 8) - 1;
    const count = room < 0 ? 1 : readNumber(list, 0);
    let isRight = count <= room;
    for (let index = 1; isRight && index <= count; index++) {
      const entry = Number(list.readBigInt64LE(8 * index));
      if (entry === 0) continue;
      if (entry < 0) index++;
      isRight = index <= count;
      if (isRight) this.#mark(readNumber(list, 8 * index), entry > 0 ? 1 : -entry);
    }
    if (!isRight) throw new Damage(FREE_PAGES_DAMAGED);
  }

  /** Pages in use must be in the file; free ones may lie after its end. */
  #take(page: number, pages: number): void {
    if (page + pages > this.#filePages && page + pages <= this.#snapshot.endPage) {
      throw new Damage(`page ${page} is missing: the file ends after ${this.#fileBytes} bytes`);
    }
    this.#mark(page, pages);
  }

  /** A page that is free twice would be given out twice, and LMDB would end the process. */
  #mark(page: number, pages: number): void {
    if (page < FIRST_DATA_PAGE || pages < 1 || page + pages > this.#snapshot.endPage) {
      throw new Damage(`it refers to page ${page}, which cannot exist`);
    }
    for (let each = page; each < page + pages; each++) {
      const byte = this.#taken[each >> 3] ?? 0;
      const bit = 1 << (each & 7);
      if ((byte & bit) !== 0) throw new Damage(`page ${each} is in two places`);
      this.#taken[each >> 3] = byte | bit;
    }
  }

  #read(bytes: Buffer, page: number): void {
    const read = readSync(this.#file, bytes, 0, bytes.length, page * this.#snapshot.pageBytes);
    if (read !== bytes.length) throw new Damage(`page ${page} is missing`);
  }
}

/** Damaged indexes that are kept for inspection. `cacheSize` does not count their bytes. */
const MAX_KEPT = 2;

export interface DamagedIndex {
  readonly reason: string;
  /** Its new path. */
  readonly keptAs: string;
}

/**
 * Moves a damaged index to `<path>.damaged-<time>`, so that a new one can be made. The last two of these are kept.
 * Undefined: the index is not damaged. Only for the owner of the data directory. Throws IndexError.
 */
export async function setDamagedAside(path: string, now: number): Promise<DamagedIndex | undefined> {
  const reason = await inspectIndex(path, 'owner');
  if (reason === undefined) return undefined;
  const keptAs = await moveAway(path, `${path}.damaged-${timeInName(now)}`).catch((cause: unknown) => {
    const why = errorCode(cause) ?? String(cause);
    throw new IndexError(
      `the index at ${path} is damaged (${reason}) and cannot be moved away: ${why}; move or delete it`,
      { cause },
    );
  });
  await removeOld(path);
  return { reason, keptAs };
}

/** A number after the name keeps two starts within one second apart. */
async function moveAway(path: string, name: string): Promise<string> {
  const taken = new Set(await readdir(dirname(path)));
  let target = name;
  for (let again = 2; taken.has(basename(target)); again++) target = `${name}-${again}`;
  await rename(path, target);
  return target;
}

/** The order of the names is the order of their times. */
async function removeOld(path: string): Promise<void> {
  const folder = dirname(path);
  const first = `${basename(path)}.damaged-`;
  const damaged = (await readdir(folder)).filter((name) => name.startsWith(first)).sort();
  for (const name of damaged.slice(0, -MAX_KEPT)) {
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** `2026-11-30T20-40-00Z`: some file systems refuse colons. */
function timeInName(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}
