import { parseDigest, type Digest } from './digest.ts';
import { OCI_INDEX } from './media-types.ts';

/** The list of no referrers (OCI distribution-spec, "Listing Referrers"). */
export const NO_REFERRERS = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }),
);

/** So that it is no longer than tags may be. */
const MAX_TAG_HEX = 64;

interface Index {
  readonly manifests?: readonly { readonly artifactType?: unknown; readonly digest?: unknown }[];
}

/** Under which tag they are listed where a registry has no referrers API (OCI distribution-spec, "Referrers Tag Schema"). */
export function referrersTag(digest: Digest): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm}-${hex.slice(0, MAX_TAG_HEX)}`;
}

/** How many there are in an index that was parsed before. */
export function countReferrers(bytes: Buffer): number {
  return (JSON.parse(bytes.toString('utf8')) as Index).manifests?.length ?? 0;
}

/** What an index that was parsed before names. */
export function referrerDigests(bytes: Buffer): Digest[] {
  const { manifests = [] } = JSON.parse(bytes.toString('utf8')) as Index;
  return manifests.flatMap(({ digest }) => parseDigest(typeof digest === 'string' ? digest : '') ?? []);
}

/** Those of one of the artifact types; every other word of the index stays. */
export function filterReferrers(bytes: Buffer, artifactTypes: readonly string[]): Buffer {
  const index = JSON.parse(bytes.toString('utf8')) as Index;
  const manifests = index.manifests?.filter(
    ({ artifactType }) => typeof artifactType === 'string' && artifactTypes.includes(artifactType),
  );
  return Buffer.from(JSON.stringify({ ...index, manifests: manifests ?? [] }));
}
