import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { readContent } from '../../src/app/app.ts';
import { parseImageWords } from '../../src/image-files/list.ts';
import { Bundle } from '../../src/bundle/writer.ts';
import { BLOCK_BYTES, encodeTarHeader, paddingBytes, parseTarHeader } from '../../src/bundle/tar.ts';
import { askOwner } from '../../src/cli/control-client.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { ImportProgress, ImportRequest, ImportSummary } from '../../src/operations/protocol.ts';
import { planBundle, type BundlePlan, type PlanOptions } from '../../src/operations/bundle/export-plan.ts';

/** Cut so that no file of a bundle ends where a chunk does. */
const CHUNK_BYTES = 1000;

export interface ExportOptions extends Partial<PlanOptions> {
  readonly key?: KeyObject;
}

/** What `pierhead export` writes of these images, or of everything. */
export async function exportFrom(
  dataDir: string,
  names: readonly string[] = [],
  options: ExportOptions = {},
): Promise<{ readonly bytes: Buffer; readonly plan: BundlePlan }> {
  const { key, ...given } = options;
  return readContent(dataDir, async (content) => {
    const images = parseImageWords(names);
    if (names.length === 0) for await (const image of content.images()) images.push(image);
    const plan = await planBundle(images, {
      ...content,
      audience: undefined,
      withForeign: false,
      has: new Set(),
      dockerPlatform: { os: 'linux', architecture: 'amd64' },
      signal: new AbortController().signal,
      ...given,
    });
    const read = (digest: Digest) => content.files.read(digest);
    const bundle = new Bundle(plan.draft, key === undefined ? { read } : { read, key });
    const chunks: Buffer[] = [];
    for await (const chunk of bundle.bytes()) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), plan };
  });
}

export async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

export interface ImportOptions extends ImportRequest {
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ImportProgress) => void;
}

/** Has the owner of a data directory import a bundle, as `pierhead import` does. Throws OperationError. */
export async function importInto(
  dataDir: string,
  bundle: Buffer | AsyncIterable<Buffer>,
  options: ImportOptions = {},
): Promise<ImportSummary> {
  const { signal = new AbortController().signal, onEvent = () => undefined, ...request } = options;
  const bytes = (): AsyncIterable<Buffer> => (Buffer.isBuffer(bundle) ? chunksOf(bundle) : bundle);
  const answer = await askOwner(dataDir, { name: 'import', request, run: { signal, onEvent }, bytes });
  if (answer.kind !== 'done') throw new Error(`nobody owns ${join(dataDir)}: ${answer.kind}`);
  return answer.result;
}

export interface ArchiveFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** The files of an archive. */
export function filesOf(archive: Buffer): ArchiveFile[] {
  const files: ArchiveFile[] = [];
  for (let at = 0; ;) {
    const entry = parseTarHeader(archive.subarray(at, at + BLOCK_BYTES));
    if (entry === undefined) return files;
    at += BLOCK_BYTES;
    files.push({ name: entry.name, bytes: archive.subarray(at, at + entry.size) });
    at += entry.size + paddingBytes(entry.size);
  }
}

/** An archive of these files. */
export function archiveOf(files: readonly ArchiveFile[]): Buffer {
  const parts = files.flatMap(({ name, bytes }) => [
    encodeTarHeader({ name, size: bytes.length }),
    bytes,
    Buffer.alloc(paddingBytes(bytes.length)),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** A pair of keys for signatures, the public one as PEM. */
export function signingKeys(): { readonly key: KeyObject; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { key: privateKey, publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString() };
}
