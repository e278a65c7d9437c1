import { BLOCK_BYTES, encodeTarHeader, paddingBytes, type TarEntry } from './tar-header.ts';

/** An archive's file: its header, its bytes, which must be as many as it says, and the zeros behind. */
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

/** How many bytes `tarFile` gives. */
export function tarFileBytes(entry: TarEntry): number {
  return encodeTarHeader(entry).length + entry.size + paddingBytes(entry.size);
}
