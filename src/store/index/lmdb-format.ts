import { arch, endianness } from 'node:os';

/*
 * The file of LMDB as the lmdb package writes it (dependencies/lmdb/libraries/liblmdb/mdb.c: MDB_page_header, MDB_meta,
 * MDB_db, MDB_node, MDB_ovpage). It holds no checksums, and LMDB follows what is in it without looking.
 */

/** Others have pages with narrower numbers, or numbers the other way round: those cannot be looked at. */
export const IS_KNOWN_LAYOUT = endianness() === 'LE' && arch() !== 'arm' && arch() !== 'ia32';

export const HEADER_BYTES = 24;
const MIN_PAGE_BYTES = 4096;
export const MAX_PAGE_BYTES = 32_768;
/** In place of a page number: none. */
export const NO_PAGE = 0xffffffff * 2 ** 32 + 0xffffffff;
export const FIRST_DATA_PAGE = 2;
export const FLAGS_BRANCH = 0x01;
export const FLAGS_LEAF = 0x02;
export const FLAGS_OVERFLOW = 0x04;
const FLAGS_META = 0x08;
/** Its pages may not have been on the disk when it was committed. */
const OVERLAPPING_SYNC = 0x1000;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
/** LMDB has room for so many pages of a way from the root to a leaf. */
const MAX_DEPTH = 32;

/** What says in words what of the index is damaged. */
export class Damage extends Error {
  override readonly name = 'Damage';
}

/** A B-tree. */
export interface Tree {
  /** NO_PAGE: it is empty. */
  readonly root: number;
  readonly depth: number;
}

/** One state of the whole index: all that a transaction has left. */
export interface Snapshot {
  readonly pageBytes: number;
  readonly transaction: number;
  /** Pages from here on do not exist in it. */
  readonly endPage: number;
  readonly freePages: Tree;
  readonly tables: Tree;
  readonly isSynced: boolean;
  /** Of the run of the machine that wrote it. */
  readonly boot: bigint;
}

export function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

/** Of the record of a tree. Throws Damage. */
export function readTree(bytes: Buffer, at: number): Tree {
  const tree = { root: readNumber(bytes, at + 40), depth: bytes.readUInt16LE(at + 6) };
  const isEmpty = tree.root === NO_PAGE;
  if (isEmpty ? tree.depth !== 0 : tree.depth < 1 || tree.depth > MAX_DEPTH) {
    throw new Damage(`a table has a depth of ${tree.depth}`);
  }
  return tree;
}

/** The page size that the first of the meta pages gives. Throws Damage. */
export function readPageSize(start: Buffer): number {
  if (start.length < MIN_PAGE_BYTES) throw new Damage('the file is too short');
  if (start.readUInt16LE(18) !== FLAGS_META || start.readUInt32LE(HEADER_BYTES) !== MAGIC) {
    throw new Damage('the file is not one of LMDB');
  }
  const pageBytes = start.readUInt32LE(HEADER_BYTES + 24);
  const isPowerOfTwo = (pageBytes & (pageBytes - 1)) === 0;
  if (pageBytes < MIN_PAGE_BYTES || pageBytes > MAX_PAGE_BYTES || !isPowerOfTwo) {
    throw new Damage(`a page has ${pageBytes} bytes`);
  }
  return pageBytes;
}

/** The two meta pages, in the order of the file. Throws Damage. */
export function readMetas(start: Buffer, pageBytes: number): readonly [Snapshot, Snapshot] {
  return [readMeta(start, 0, pageBytes), readMeta(start, 1, pageBytes)];
}

function readMeta(start: Buffer, page: 0 | 1, pageBytes: number): Snapshot {
  const at = page * pageBytes;
  const magic = start.readUInt32LE(at + HEADER_BYTES);
  const isMeta = start.readUInt16LE(at + 18) === FLAGS_META && readNumber(start, at) === page;
  if (!isMeta || magic !== MAGIC) throw new Damage(`meta page ${page} is not one`);
  const version = start.readUInt32LE(at + HEADER_BYTES + 4) & 0xffff;
  if (version !== DATA_VERSION) throw new Damage(`meta page ${page} is of version ${version}`);
  if (start.readUInt32LE(at + HEADER_BYTES + 24) !== pageBytes) {
    throw new Damage('the meta pages differ in their page size');
  }
  const snapshot = readSnapshot(start, at + HEADER_BYTES, pageBytes);
  if (snapshot.transaction > 0 && snapshot.transaction % 2 !== page) {
    throw new Damage(`meta page ${page} is of transaction ${snapshot.transaction}`);
  }
  return snapshot;
}

/** What was on the disk for certain when it was written; undefined: nothing was yet. Throws Damage. */
export function readSynced(start: Buffer, pageBytes: number): Snapshot | undefined {
  const at = pageBytes / 2 + HEADER_BYTES;
  return readNumber(start, at + 128) === 0 ? undefined : readSnapshot(start, at, pageBytes);
}

function readSnapshot(start: Buffer, at: number, pageBytes: number): Snapshot {
  const transaction = readNumber(start, at + 128);
  const endPage = readNumber(start, at + 120) + 1;
  if (transaction >= 2 ** 48 || endPage < FIRST_DATA_PAGE || endPage >= 2 ** 48) {
    throw new Damage('a meta page has numbers that cannot be');
  }
  return {
    pageBytes,
    transaction,
    endPage,
    freePages: readTree(start, at + 24),
    tables: readTree(start, at + 72),
    isSynced: (start.readUInt16LE(at + 28) & OVERLAPPING_SYNC) === 0,
    boot: start.readBigInt64LE(at + 136),
  };
}
