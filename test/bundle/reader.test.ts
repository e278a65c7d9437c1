import { describe, expect, it } from 'vitest';
import { renderBundleContents, type BundleContents } from '../../src/bundle/contents.ts';
import { renderBundleIndex } from '../../src/bundle/bundle-index.ts';
import { LAYOUT } from '../../src/bundle/contents.ts';
import { BundleReader } from '../../src/bundle/reader.ts';
import { parsePublicKey, signatureOf } from '../../src/bundle/signature.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { archiveOf, chunksOf, signingKeys, type ArchiveFile } from '../support/bundles.ts';

const { key, publicKey } = signingKeys();
const NOTHING: BundleContents = { manifests: [], referrers: [], blobs: [], base: [], docker: undefined };

function readerOf(files: readonly ArchiveFile[], keys: ConstructorParameters<typeof BundleReader>[1] = []) {
  return new BundleReader(chunksOf(archiveOf([{ name: 'oci-layout', bytes: LAYOUT }, ...files])), keys);
}

/** A bundle that says of itself that it holds these. */
function bundleOf(contents: Buffer, ...more: readonly ArchiveFile[]): ArchiveFile[] {
  const index = renderBundleIndex([], digestOf(contents));
  return [{ name: 'index.json', bytes: index }, { name: 'pierhead.json', bytes: contents }, ...more];
}

/** More things than any bundle has, in few bytes. */
const swarm = (beginning: string): Buffer => Buffer.from(`${beginning}${'{},'.repeat(2_000_000)}{}]}`);

describe('what a bundle says of itself', () => {
  it('is not read if it would take a server much longer than its bytes do', async () => {
    const index = { name: 'index.json', bytes: swarm('{"manifests":[') };
    await expect(readerOf([index]).head()).rejects.toThrow('index.json has too many values');
    const contents = bundleOf(swarm('{"blobs":['));
    await expect(readerOf(contents).head()).rejects.toThrow('pierhead.json has too many values');
  });

  it('is read if it is as large as it may be', async () => {
    const blobs = Array.from({ length: 200_000 }, (_, at) => ({
      digest: digestOf(Buffer.from(`${at}`)),
      size: at,
    }));
    const contents = renderBundleContents({ ...NOTHING, blobs });
    expect((await readerOf(bundleOf(contents)).head()).contents.blobs).toHaveLength(blobs.length);
  });

  it('is not even looked into where it is to be signed and is not', async () => {
    const bytes = Buffer.from('{"nonsense');
    const keys = [parsePublicKey(publicKey)];
    const index = { name: 'index.json', bytes };
    const next = { name: 'pierhead.json', bytes: Buffer.from('{}') };
    await expect(readerOf([index, next], keys).head()).rejects.toThrow('the bundle is not signed');
    const other = { name: 'index.json.sig', bytes: signatureOf(bytes, signingKeys().key) };
    await expect(readerOf([index, other, next], keys).head()).rejects.toThrow('signed by another key');
    const signature = { name: 'index.json.sig', bytes: signatureOf(bytes, key) };
    await expect(readerOf([index, signature, next], keys).head()).rejects.toThrow('index.json is not JSON');
  });

  it('names no manifest that is larger than manifests are', async () => {
    const bytes = Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ');
    const digest = digestOf(bytes);
    const manifests = [{ digest, mediaType: OCI_INDEX, size: bytes.length }];
    const file = { name: `blobs/sha256/${digest.slice(7)}`, bytes };
    const reader = readerOf(bundleOf(renderBundleContents({ ...NOTHING, manifests }), file));
    await reader.head();
    await expect(reader.manifests()).rejects.toThrow(`the manifest ${digest} has ${bytes.length} bytes`);
  });
});
