/** An archive has for each file a header block, and the bytes filled up with zeros to whole blocks (POSIX.1-1988, ustar). */
export const BLOCK_BYTES = 512;

export interface TarEntry {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  owner: [108, 8],
  group: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;
const REGULAR_FILE = '0';
/** Further attributes of the next file (POSIX.1-2001, pax). */
const EXTENDED_HEADER = 'x';
const MAX_NAME_BYTES = FIELDS.name[1];
const MAGIC = 'ustar\u000000';
/** From this size on, the octal field is too short: a binary number follows, marked by its first bit (GNU tar). */
const MIN_BINARY_SIZE = 8 ** 11;
const BINARY_MARK = 0x80;

/**
 * The header of a plain file with mode 0644, of user 0, at time 0, so that the same files give the same bytes. A long name,
 * such as that of a SHA-512 blob, goes into an extended header before it.
 */
export function encodeTarHeader(entry: TarEntry): Buffer {
  if (Buffer.byteLength(entry.name) <= MAX_NAME_BYTES) return plainHeader(entry, REGULAR_FILE);
  const record = Buffer.from(paxRecord('path', entry.name));
  return Buffer.concat([
    plainHeader({ name: 'pax', size: record.length }, EXTENDED_HEADER),
    record,
    Buffer.alloc(paddingBytes(record.length)),
    plainHeader({ ...entry, name: entry.name.slice(0, MAX_NAME_BYTES) }, REGULAR_FILE),
  ]);
}

function plainHeader({ name, size }: TarEntry, type: string): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, FIELDS.name[0]);
  putOctal(header, FIELDS.mode, 0o644);
  putOctal(header, FIELDS.owner, 0);
  putOctal(header, FIELDS.group, 0);
  putSize(header, size);
  putOctal(header, FIELDS.mtime, 0);
  header.write(type, FIELDS.type[0]);
  header.write(MAGIC, FIELDS.magic[0], 'latin1');
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, FIELDS.checksum[0]);
  return header;
}

export interface TarHeader extends TarEntry {
  /** `extended`: the bytes hold attributes of the next file. */
  readonly kind: 'file' | 'extended';
}

/** Undefined: not a header of a plain file, and not an extended header. */
export function parseTarHeader(header: Buffer): TarHeader | undefined {
  if (octalOf(header, FIELDS.checksum) !== checksum(header)) return undefined;
  const kind = kindOf(textOf(header, FIELDS.type));
  const size = sizeOf(header);
  return size === undefined || kind === undefined
    ? undefined
    : { kind, name: textOf(header, FIELDS.name), size };
}

function kindOf(type: string): TarHeader['kind'] | undefined {
  if (type === EXTENDED_HEADER) return 'extended';
  return type === REGULAR_FILE || type === '' ? 'file' : undefined;
}

/** `<length> <key>=<value>`; the length counts its own digits too. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const digits = String(rest.length).length;
  const length = rest.length + digits;
  return `${String(length).length === digits ? length : length + 1}${rest}`;
}

/** The name in an extended header; undefined: it holds only other attributes. */
export function paxPath(records: Buffer): string | undefined {
  return /^\d+ path=([^\n]*)$/m.exec(records.toString('utf8'))?.[1];
}

/** The zeros behind a file of `size` bytes. */
export function paddingBytes(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

type Field = readonly [offset: number, length: number];

function putOctal(header: Buffer, [offset, length]: Field, value: number): void {
  header.write(value.toString(8).padStart(length - 1, '0'), offset);
}

function putSize(header: Buffer, size: number): void {
  if (size < MIN_BINARY_SIZE) return putOctal(header, FIELDS.size, size);
  const [offset, length] = FIELDS.size;
  header.writeUInt8(BINARY_MARK, offset);
  header.writeBigUInt64BE(BigInt(size), offset + length - 8);
}

function sizeOf(header: Buffer): number | undefined {
  const [offset, length] = FIELDS.size;
  const isBinary = header.readUInt8(offset) === BINARY_MARK;
  const size = isBinary ? Number(header.readBigUInt64BE(offset + length - 8)) : octalOf(header, FIELDS.size);
  return Number.isSafeInteger(size) ? size : undefined;
}

/** NaN if there are other characters. */
function octalOf(header: Buffer, field: Field): number {
  const digits = textOf(header, field).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
}

function textOf(header: Buffer, [offset, length]: Field): string {
  const [text = ''] = header.toString('latin1', offset, offset + length).split('\0', 1);
  return text;
}

/** The sum of all header bytes, with blanks in place of the checksum. */
function checksum(header: Buffer): number {
  const [offset, length] = FIELDS.checksum;
  let sum = length * 0x20;
  for (const [at, byte] of header.entries()) if (at < offset || at >= offset + length) sum += byte;
  return sum;
}

/** Header, bytes and padding of a file. `content` must have `entry.size` bytes. */
export async function* tarFile(
  entry: TarEntry,
  content: Iterable<Buffer> | AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void> {
  yield encodeTarHeader(entry);
  yield* content;
  const padding = paddingBytes(entry.size);
  if (padding > 0) yield Buffer.alloc(padding);
}

export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK_BYTES);
}

/** Number of bytes that `tarFile` yields. */
export function tarFileBytes(entry: TarEntry): number {
  return encodeTarHeader(entry).length + entry.size + paddingBytes(entry.size);
}
