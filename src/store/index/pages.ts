import { arch, endianness } from 'node:os';
import { thisBoot } from '../../lib/clock.ts';

/*
 * The file of LMDB as the lmdb package writes it (dependencies/lmdb/libraries/liblmdb/mdb.c: MDB_page_header, MDB_meta,
 * MDB_db, MDB_node, MDB_ovpage). The file has no checksums, and LMDB follows its offsets without checks.
 */

/** On other processors LMDB writes narrower numbers or another byte order, which this code does not read. */
export const IS_KNOWN_LAYOUT = endianness() === 'LE' && arch() !== 'arm' && arch() !== 'ia32';

export const HEADER_BYTES = 24;
const MIN_PAGE_BYTES = 4096;
export const MAX_PAGE_BYTES = 32_768;
/** The page number that stands for no page. */
export const NO_PAGE = 0xffffffff * 2 ** 32 + 0xffffffff;
export const FIRST_DATA_PAGE = 2;
const FLAGS_BRANCH = 0x01;
const FLAGS_LEAF = 0x02;
const FLAGS_OVERFLOW = 0x04;
const FLAGS_META = 0x08;
/** The transaction was committed before its pages were synced. */
const OVERLAPPING_SYNC = 0x1000;
/** MDB_TRACK_METRICS, MDB_SAFE_RESTORE, MDB_NOSUBDIR. */
const OTHER_FILE_FLAGS = 0x4c00;
/** The keys of the list of free pages are numbers (MDB_INTEGERKEY). */
const NUMBER_KEYS = 0x08;
/** Of all other trees: no table is opened with options that have flags. */
const NO_FLAGS = 0;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
/** The largest depth of a tree that LMDB can walk. */
const MAX_DEPTH = 32;

/** The index is damaged; the message describes the damage. */
export class Damage extends Error {
  override readonly name = 'Damage';
}

/** A B-tree. */
export interface Tree {
  /** NO_PAGE: the tree is empty. */
  readonly root: number;
  readonly depth: number;
}

/** The state of the index after a transaction. */
export interface Snapshot {
  readonly pageBytes: number;
  readonly transaction: number;
  /** The first page number that does not exist. */
  readonly endPage: number;
  readonly freePages: Tree;
  readonly tables: Tree;
  readonly isSynced: boolean;
  /** Identifier of the boot of the machine that wrote it. */
  readonly boot: bigint;
}

export function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

/**
 * Reads the record of a tree. By its flags LMDB chooses how it compares keys, and lmdb how it decodes values. Throws
 * Damage.
 */
function readTree(bytes: Buffer, at: number, flags: number): Tree {
  const found = bytes.readUInt16LE(at + 4);
  if (found !== flags) throw new Damage(`a table has the flags ${found}`);
  const tree = { root: readNumber(bytes, at + 40), depth: bytes.readUInt16LE(at + 6) };
  const isEmpty = tree.root === NO_PAGE;
  if (isEmpty ? tree.depth !== 0 : tree.depth < 1 || tree.depth > MAX_DEPTH) {
    throw new Damage(`a table has a depth of ${tree.depth}`);
  }
  return tree;
}

/** The page size by the first meta page. Throws Damage. */
function readPageSize(start: Buffer): number {
  if (start.length < MIN_PAGE_BYTES) throw new Damage('the file is too short');
  if (start.readUInt16LE(18) !== FLAGS_META || start.readUInt32LE(HEADER_BYTES) !== MAGIC) {
    throw new Damage('the file is not an LMDB file');
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
  if (!isMeta || magic !== MAGIC) throw new Damage(`page ${page} is not a meta page`);
  const version = start.readUInt32LE(at + HEADER_BYTES + 4) & 0xffff;
  if (version !== DATA_VERSION) throw new Damage(`meta page ${page} is of version ${version}`);
  const snapshot = readSnapshot(start, at + HEADER_BYTES, pageBytes);
  if (snapshot.transaction > 0 && snapshot.transaction % 2 !== page) {
    throw new Damage(`meta page ${page} is of transaction ${snapshot.transaction}`);
  }
  return snapshot;
}

/** The last synced transaction when the meta page was written; undefined: none. Throws Damage. */
function readSynced(start: Buffer, pageBytes: number): Snapshot | undefined {
  const at = pageBytes / 2 + HEADER_BYTES;
  return readNumber(start, at + 128) === 0 ? undefined : readSnapshot(start, at, pageBytes);
}

function readSnapshot(start: Buffer, at: number, pageBytes: number): Snapshot {
  if (start.readUInt32LE(at + 24) !== pageBytes) {
    throw new Damage('the meta pages differ in their page size');
  }
  const transaction = readNumber(start, at + 128);
  const endPage = readNumber(start, at + 120) + 1;
  if (transaction >= 2 ** 48 || endPage < FIRST_DATA_PAGE || endPage >= 2 ** 48) {
    throw new Damage('a meta page has impossible numbers');
  }
  // The flags of the file are kept with those of this tree. LMDB refuses a file with MDB_ENCRYPT, and lmdb then ends
  // the process (EnvWrap::openEnv uses memory that it has freed).
  const flags = start.readUInt16LE(at + 28);
  const fileFlags = flags & (OVERLAPPING_SYNC | OTHER_FILE_FLAGS);
  return {
    pageBytes,
    transaction,
    endPage,
    freePages: readTree(start, at + 24, NUMBER_KEYS | fileFlags),
    tables: readTree(start, at + 72, NO_FLAGS),
    isSynced: (flags & OVERLAPPING_SYNC) === 0,
    boot: start.readBigInt64LE(at + 136),
  };
}

/**
 * The transaction that LMDB uses, by the first bytes of the file. After a crash of the machine an `owner` goes back to
 * the last synced one. Throws Damage.
 */
export function pickSnapshot(start: Buffer, as: 'owner' | 'reader'): Snapshot {
  const pageBytes = readPageSize(start);
  if (start.length < 2 * pageBytes) throw new Damage('the file is too short');
  const [first, second] = readMetas(start, pageBytes);
  const newest = first.transaction >= second.transaction ? first : second;
  if (as === 'reader') return newest;
  // The same choice as mdb_env_pick_meta makes when it opens the file.
  const synced = readSynced(start, pageBytes);
  const picked = second.transaction === 0 ? first : older(newest, newest === first ? second : first);
  const safe = synced === undefined ? picked : saferOf(picked, synced);
  // LMDB goes back only to another transaction; otherwise it uses the meta page, whichever copy it picked.
  return safe.transaction === newest.transaction ? newest : safe;
}

function saferOf(picked: Snapshot, synced: Snapshot): Snapshot {
  if (synced.transaction === picked.transaction) return picked;
  return synced.transaction > picked.transaction ? older(synced, picked) : older(picked, synced);
}

/** `newer`, unless a crash of the machine may have lost its pages: then `other`. */
function older(newer: Snapshot, other: Snapshot): Snapshot {
  return newer.isSynced || (newer.boot !== 0n && newer.boot === bootNumber()) ? newer : other;
}

/** The first part of the boot identifier as a number, as LMDB writes it. */
function bootNumber(): bigint {
  const [first] = thisBoot()?.split('-') ?? [];
  return first === undefined ? -1n : BigInt(`0x${first}`);
}

const NODE_BYTES = 8;
/** The node's value is on other pages; the node has their place. */
const VALUE_ELSEWHERE = 0x01;
/** The node's value is the record of a table. */
const VALUE_IS_TABLE = 0x02;
const PLACE_BYTES = 24;
const TABLE_BYTES = 48;

/** Consecutive pages with one value. */
export interface LongValue {
  readonly page: number;
  readonly pages: number;
  readonly bytes: number;
}

/** The values of a leaf that refer to other pages. */
export interface LeafContent {
  readonly tables: readonly Tree[];
  readonly longValues: readonly LongValue[];
}

/** A page that a branch refers to. */
export interface Child {
  readonly page: number;
  /** No key of this child is less; the first child has none. */
  readonly key?: Buffer;
}

/** Throws Damage. */
export function readBranch(bytes: Buffer, page: number, snapshot: Snapshot): Child[] {
  const children: Child[] = [];
  eachNode(bytes, page, { snapshot, flags: FLAGS_BRANCH }, (at, valueAt) => {
    const child = bytes.readUInt32LE(at) + bytes.readUInt16LE(at + 4) * 2 ** 32;
    const key = Buffer.from(bytes.subarray(at + NODE_BYTES, valueAt));
    children.push(children.length === 0 ? { page: child } : { page: child, key });
    return 0;
  });
  return children;
}

/** Throws Damage. */
export function readLeaf(bytes: Buffer, page: number, snapshot: Snapshot): LeafContent {
  const tables: Tree[] = [];
  const longValues: LongValue[] = [];
  eachNode(bytes, page, { snapshot, flags: FLAGS_LEAF }, (at, valueAt) => {
    const flags = bytes.readUInt16LE(at + 4);
    const size = bytes.readUInt32LE(at);
    const inPage = flags === VALUE_ELSEWHERE ? PLACE_BYTES : size;
    must(valueAt > at + NODE_BYTES && valueAt + inPage <= bytes.length, page);
    switch (flags) {
      case 0:
        break;
      case VALUE_ELSEWHERE:
        longValues.push({ ...placeOf(bytes, valueAt), bytes: size });
        break;
      case VALUE_IS_TABLE:
        must(size === TABLE_BYTES, page);
        tables.push(readTree(bytes, valueAt, NO_FLAGS));
        break;
      default:
        must(false, page);
    }
    return inPage;
  });
  return { tables, longValues };
}

/** Keys and values of a leaf that `readLeaf` has checked. A long value is returned as its place. */
export function* entries(bytes: Buffer): Generator<{ key: Buffer; value: Buffer | LongValue }, void> {
  const count = bytes.readUInt16LE(20) >> 1;
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + bytes.readUInt16LE(HEADER_BYTES + 2 * index);
    const valueAt = at + NODE_BYTES + bytes.readUInt16LE(at + 6);
    const size = bytes.readUInt32LE(at);
    const isElsewhere = bytes.readUInt16LE(at + 4) === VALUE_ELSEWHERE;
    yield {
      key: bytes.subarray(at + NODE_BYTES, valueAt),
      value: isElsewhere
        ? { ...placeOf(bytes, valueAt), bytes: size }
        : bytes.subarray(valueAt, valueAt + size),
    };
  }
}

/** Throws Damage if `head` is not the header of this value's pages. */
export function checkLongValue(head: Buffer, value: LongValue, snapshot: Snapshot): void {
  checkHeader(head, value.page, { snapshot, flags: FLAGS_OVERFLOW });
  const isLongEnough = value.pages * snapshot.pageBytes >= HEADER_BYTES + value.bytes;
  must(head.readUInt32LE(20) === value.pages && isLongEnough, value.page);
}

interface Expected {
  readonly snapshot: Snapshot;
  readonly flags: number;
}

/**
 * Calls `visit` with the offsets of each node and its value; it returns the size of the value within the page. Nodes
 * fill the page from its end without gaps, so a node that is cut, too long or in two places changes the sum.
 */
function eachNode(
  bytes: Buffer,
  page: number,
  expected: Expected,
  visit: (at: number, valueAt: number) => number,
): void {
  checkHeader(bytes, page, expected);
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  const room = bytes.length - HEADER_BYTES;
  // As in mdb_env_open2: a page has room for two nodes, and a node for a key and the record of a table.
  const maxNodeBytes = 2 * Math.floor(room / 4) - 2;
  const maxKeyBytes = maxNodeBytes - NODE_BYTES - TABLE_BYTES;
  must(lower % 2 === 0 && lower <= upper && upper <= room, page);
  let sum = 0;
  for (let pointer = HEADER_BYTES; pointer < HEADER_BYTES + lower; pointer += 2) {
    const offset = bytes.readUInt16LE(pointer);
    must(offset % 2 === 0 && offset >= upper && offset + NODE_BYTES <= room, page);
    const at = HEADER_BYTES + offset;
    const keyBytes = bytes.readUInt16LE(at + 6);
    const valueAt = at + NODE_BYTES + keyBytes;
    must(keyBytes <= maxKeyBytes && valueAt <= bytes.length, page);
    const size = valueAt - at + visit(at, valueAt);
    must(size <= maxNodeBytes, page);
    sum += size + (size % 2);
  }
  must(lower > 0 && sum === room - upper, page);
}

function checkHeader(bytes: Buffer, page: number, { snapshot, flags }: Expected): void {
  const isRight = readNumber(bytes, 0) === page && bytes.readUInt16LE(18) === flags;
  must(isRight && readNumber(bytes, 8) <= snapshot.transaction, page);
}

function placeOf(bytes: Buffer, at: number): Pick<LongValue, 'page' | 'pages'> {
  return { page: readNumber(bytes, at), pages: readNumber(bytes, at + 16) };
}

/** Throws Damage. */
export function must(isRight: boolean, page: number): void {
  if (!isRight) throw new Damage(`page ${page} is damaged`);
}
