import {
  Damage,
  FLAGS_BRANCH,
  FLAGS_LEAF,
  FLAGS_OVERFLOW,
  HEADER_BYTES,
  readNumber,
  readTree,
  type Snapshot,
  type Tree,
} from './lmdb-format.ts';

const NODE_BYTES = 8;
/** The node's value is on pages of its own; it holds where. */
const VALUE_ELSEWHERE = 0x01;
/** The node's value is the record of a table. */
const VALUE_IS_TABLE = 0x02;
const PLACE_BYTES = 24;
const TABLE_BYTES = 48;

/** Pages, one after the other, that hold one value. */
export interface LongValue {
  readonly page: number;
  readonly pages: number;
  readonly bytes: number;
}

/** What a leaf has besides plain values. */
export interface LeafContent {
  readonly tables: readonly Tree[];
  readonly longValues: readonly LongValue[];
}

/** Which pages a branch names. Throws Damage. */
export function readBranch(bytes: Buffer, page: number, snapshot: Snapshot): number[] {
  const children: number[] = [];
  eachNode(bytes, page, { snapshot, flags: FLAGS_BRANCH }, (at) => {
    children.push(
      bytes.readUInt16LE(at) + bytes.readUInt16LE(at + 2) * 2 ** 16 + bytes.readUInt16LE(at + 4) * 2 ** 32,
    );
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
    must(valueAt + inPage <= bytes.length, page);
    switch (flags) {
      case 0:
        break;
      case VALUE_ELSEWHERE:
        longValues.push({ ...placeOf(bytes, valueAt), bytes: size });
        break;
      case VALUE_IS_TABLE:
        must(size === TABLE_BYTES, page);
        tables.push(readTree(bytes, valueAt));
        break;
      default:
        must(false, page);
    }
    return inPage;
  });
  return { tables, longValues };
}

/** Each key and value of a leaf that has been read; a value that is elsewhere is given as its place. */
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

/** Throws Damage if `head` is not how the pages of this value begin. */
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
 * Calls `visit` with where each node and its value begin; it gives the size of the value within the page. Nodes fill the
 * page from its end without a gap: one that is cut, too long or in two places shows in the sum.
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
  must(lower % 2 === 0 && lower <= upper && upper <= room, page);
  let sum = 0;
  for (let pointer = HEADER_BYTES; pointer < HEADER_BYTES + lower; pointer += 2) {
    const offset = bytes.readUInt16LE(pointer);
    must(offset % 2 === 0 && offset >= upper && offset + NODE_BYTES <= room, page);
    const at = HEADER_BYTES + offset;
    const valueAt = at + NODE_BYTES + bytes.readUInt16LE(at + 6);
    must(valueAt <= bytes.length, page);
    const size = valueAt - at + visit(at, valueAt);
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
