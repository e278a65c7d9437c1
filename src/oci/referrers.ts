import { JsonReader, listOf, objectOf, SCALAR, VERBATIM, type JsonShape } from '../lib/json.ts';
import type { Digest } from './digest.ts';
import { MANIFEST_LIMITS, parseManifest } from './manifest.ts';
import { OCI_INDEX } from './media-types.ts';

/** An empty list of referrers (OCI distribution-spec, "Listing Referrers"). */
export const NO_REFERRERS = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }),
);

const COMMA = Buffer.from(',');
const OPENING_BRACKET = '['.charCodeAt(0);
/** Keeps the tag within the length limit of tags. */
const MAX_TAG_HEX = 64;

/**
 * The tag that lists the referrers where a registry has no referrers API (OCI distribution-spec, "Referrers Tag
 * Schema").
 */
export function referrersTag(digest: Digest): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm}-${hex.slice(0, MAX_TAG_HEX)}`;
}

/** True if a tag names a manifest's digest: a referrers tag, or cosign's `sha256-….sig`. */
export function isTagForDigest(tag: string): boolean {
  return /^sha(?:256|512)-[a-f0-9]{64}/.test(tag);
}

/** The number of referrers in a valid index. */
export function countReferrers(bytes: Buffer): number {
  return referrerDigests(bytes).length;
}

/** The digests of the referrers in a valid index. */
export function referrerDigests(bytes: Buffer): Digest[] {
  const { content } = parseManifest(bytes, OCI_INDEX);
  return content.kind === 'index' ? content.entries.map(({ digest }) => digest) : [];
}

/** The index with only the referrers of these artifact types; all other bytes stay. */
export function filterReferrers(bytes: Buffer, artifactTypes: readonly string[]): Buffer {
  return withReferrers(
    bytes,
    referrersIn(bytes).filter((entry) => {
      const { artifactType } = read(entry, objectOf({ artifactType: SCALAR })) as { artifactType?: unknown };
      return typeof artifactType === 'string' && artifactTypes.includes(artifactType);
    }),
  );
}

/** The entries of a valid index, as raw bytes; empty if it has no list. */
export function referrersIn(bytes: Buffer): readonly Buffer[] {
  const list = listIn(bytes);
  return list === undefined ? [] : (read(list, listOf(VERBATIM)) as readonly Buffer[]);
}

/** A valid index with `entries` in place of its own. */
export function withReferrers(bytes: Buffer, entries: readonly Buffer[]): Buffer {
  const list = listIn(bytes);
  if (list === undefined) return entries.length === 0 ? bytes : withReferrers(NO_REFERRERS, entries);
  const start = list.byteOffset - bytes.byteOffset;
  const texts = entries.flatMap((entry, at) => (at === 0 ? [entry] : [COMMA, entry]));
  return Buffer.concat([bytes.subarray(0, start + 1), ...texts, bytes.subarray(start + list.length - 1)]);
}

/**
 * The list including its brackets; undefined if `manifests` is missing or null, as Go programs write an empty list.
 */
function listIn(bytes: Buffer): Buffer | undefined {
  const { manifests } = read(bytes, objectOf({ manifests: VERBATIM })) as { readonly manifests?: Buffer };
  return manifests?.[0] === OPENING_BRACKET ? manifests : undefined;
}

function read(bytes: Buffer, shape: JsonShape): unknown {
  return new JsonReader(bytes, MANIFEST_LIMITS).read(shape);
}
