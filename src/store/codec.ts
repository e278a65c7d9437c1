import { parseJson } from '../lib/json.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { manifestOf, type Manifest } from '../oci/manifest.ts';
import { isManifestType } from '../oci/media-types.ts';
import type { Link, TagRecord } from './manifests.ts';

/** A manifest as one value: its media type, a NUL, and its unchanged bytes. */
export function encodeManifest(manifest: Manifest): Buffer {
  return Buffer.concat([Buffer.from(`${manifest.descriptor.mediaType}\0`), manifest.bytes]);
}

/** Undefined if the value was not made by `encodeManifest`. */
export function decodeManifest(digest: Digest, value: Buffer): Manifest | undefined {
  const end = value.indexOf(0);
  if (end < 1) return undefined;
  return manifestOf({ digest, mediaType: value.toString('latin1', 0, end), bytes: value.subarray(end + 1) });
}

/** Undefined if the text is not the JSON of a TagRecord. It is checked because it becomes response headers. */
export function decodeTag(text: string): TagRecord | undefined {
  const value = parseObject(text);
  const descriptor = value?.['descriptor'];
  if (value === undefined || typeof descriptor !== 'object' || descriptor === null) return undefined;
  const { digest, mediaType, size } = descriptor as Record<string, unknown>;
  const { checkedAt, confirmedAt, failure } = value;
  const known = typeof digest === 'string' ? parseDigest(digest) : undefined;
  if (known === undefined || typeof mediaType !== 'string' || !isManifestType(mediaType)) return undefined;
  if (!isSize(size) || typeof checkedAt !== 'number' || typeof confirmedAt !== 'number') return undefined;
  return {
    descriptor: { digest: known, mediaType, size },
    checkedAt,
    confirmedAt,
    ...(typeof failure === 'string' ? { failure } : {}),
  };
}

/** Undefined if the value is not a Link. */
export function decodeLink({ by, size }: Readonly<Record<string, unknown>>): Link | undefined {
  if (by !== 'manifest' && by !== 'upstream') return undefined;
  return { by, ...(isSize(size) ? { size } : {}) };
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The JSON object that `text` spells, or undefined. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = parseJson(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
