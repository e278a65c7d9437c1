import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { manifestOf } from '../../src/oci/manifest.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { openIndex } from '../../src/store/manifest/lmdb.ts';
import { record } from '../store/manifests.contract.ts';

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** Of LMDB on the machines that tests run on. */
export const PAGE_BYTES = 4096;

export function indexFile(dataDir: string): string {
  return join(dataDir, 'index/data.mdb');
}

/** Writes the file anew, as `change` makes it of what it was. */
export async function rewriteIndex(dataDir: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const path = indexFile(dataDir);
  await writeFile(path, change(await readFile(path)));
}

/** Overwrites bytes of the file in place: who has it in memory sees that at once. */
export async function patchIndex(
  dataDir: string,
  patches: Iterable<readonly [at: number, bytes: Buffer]>,
): Promise<void> {
  const file = await open(indexFile(dataDir), 'r+');
  try {
    for (const [at, bytes] of patches) await file.write(bytes, 0, bytes.length, at);
  } finally {
    await file.close();
  }
}

/** Another one byte or bit. */
export function flipped(bytes: Buffer, at: number, mask: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ mask, at);
  return copy;
}

/**
 * An index that has seen work: several tables, trees of more than one level, values that are longer than a page, and
 * pages that were given up.
 */
export async function fillIndex(dataDir: string): Promise<void> {
  const index = openIndex(join(dataDir, 'index'));
  await index.upgrade();
  const { environment, manifests, links, tags, blobs, repositories } = index.tables;
  for (let step = 0; step < 4; step++) {
    await environment.write(() => {
      for (let each = 0; each < 60; each++) {
        const text = `${step}/${each}`;
        const layer = { mediaType: LAYER, digest: digestOf(Buffer.from(text)), size: each };
        const annotations = { of: 'x'.repeat(each % 9 === 0 ? 9000 : each * 20) };
        const document = { schemaVersion: 2, config: layer, layers: [layer], annotations };
        const bytes = Buffer.from(JSON.stringify(document));
        const digest = digestOf(bytes);
        const name = `docker.io/library/image-${each % 7}`;
        manifests.put(manifestOf({ digest, mediaType: OCI_MANIFEST, bytes }), 1_700_000_000_000 + step);
        links.put(name, digest, { by: 'upstream', size: bytes.length });
        tags.put([name, `${step}.${each}`], record(text, step + 1));
        blobs.put(layer.digest, each, step);
        repositories.list(name);
      }
    });
    await environment.write(() => {
      for (const digest of manifests.page(25)) manifests.remove(digest);
    });
  }
  await index.close();
}
