import type { Digest } from '../../oci/digest.ts';
import { attestedDigest, isRunnableImage } from '../../oci/manifest.ts';
import type { ManifestTable } from './manifests.ts';
import type { ReferenceTable } from './references.ts';

interface Tables {
  readonly manifests: Pick<ManifestTable, 'content'>;
  readonly references: Pick<ReferenceTable, 'namersOf'>;
}

/** Indexes that are looked into; what all the others say of a manifest is the same in nearly every case. */
const MAX_INDEXES_SEEN = 8;
/** Of one manifest; BuildKit makes one. */
const MAX_ATTESTATIONS = 8;

/**
 * The stored manifests that a stored index calls attestations of the image `subject`. Not those that are images
 * themselves: an index can say what it likes, and must not have the images of others kept or evicted.
 */
export function attestationsOf(tables: Tables, subject: Digest): Digest[] {
  if (kindOf(tables, subject) !== 'image') return [];
  const found = new Set<Digest>();
  for (const entry of entriesBeside(tables, subject)) {
    if (found.size >= MAX_ATTESTATIONS || attestedDigest(entry) !== subject) continue;
    if (kindOf(tables, entry.digest) === 'statement') found.add(entry.digest);
  }
  return [...found];
}

/** The stored images of which a manifest is an attestation; empty for everything else. */
export function subjectsOf(tables: Tables, attestation: Digest): Digest[] {
  if (kindOf(tables, attestation) !== 'statement') return [];
  const found = new Set<Digest>();
  for (const entry of entriesBeside(tables, attestation)) {
    const subject = entry.digest === attestation ? attestedDigest(entry) : undefined;
    if (subject !== undefined && kindOf(tables, subject) === 'image') found.add(subject);
  }
  return [...found];
}

function entriesBeside({ manifests, references }: Tables, digest: Digest) {
  return references.namersOf(digest, MAX_INDEXES_SEEN).flatMap((index) => {
    const content = manifests.content(index);
    return content?.kind === 'index' ? content.entries : [];
  });
}

/** Only what nobody runs can be a statement on something, so there is no circle of statements on statements. */
function kindOf({ manifests }: Tables, digest: Digest): 'image' | 'statement' | undefined {
  const content = manifests.content(digest);
  if (content === undefined || content.kind === 'index') return undefined;
  return isRunnableImage(content) ? 'image' : 'statement';
}
