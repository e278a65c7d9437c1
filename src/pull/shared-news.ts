import type { Descriptor } from '../oci/manifest.ts';
import type { Reference, Repository } from '../oci/reference.ts';
import type { ManifestStore, StoredManifest } from '../store/manifest-store.ts';

export interface SharedNewsOptions {
  readonly store: ManifestStore;
  readonly now: () => number;
}

export interface News {
  readonly descriptor: Descriptor;
  /** Undefined: only a HEAD has told what the tag names. */
  readonly manifest: StoredManifest | undefined;
}

/** What was checked so short a time before is as good as what is checked now: another server was a little faster. */
const SLACK_MS = 1000;

/** Whether another server of the fleet has just learnt what this one is about to ask upstream. */
export class SharedNews {
  readonly #options: SharedNewsOptions;

  constructor(options: SharedNewsOptions) {
    this.#options = options;
  }

  /**
   * Gives a function that looks whether what `reference` names has become known since about now. By digest it takes
   * proof that the repository holds it: the manifest may have come through another one.
   */
  watch(repository: Repository, reference: Reference): () => Promise<News | undefined> {
    const { store, now } = this.#options;
    if (reference.kind === 'digest') {
      const { digest } = reference;
      return async () => {
        if ((await store.getLink(repository, digest)) === undefined) return undefined;
        const manifest = await store.getManifest(digest);
        return manifest === undefined ? undefined : { descriptor: descriptorOf(manifest), manifest };
      };
    }
    const notBefore = now() - SLACK_MS;
    return async () => {
      const record = await store.getTag(repository, reference.tag, notBefore);
      if (record === undefined || record.checkedAt <= notBefore || record.failure !== undefined)
        return undefined;
      return {
        descriptor: record.descriptor,
        manifest: await store.getManifest(record.descriptor.digest),
      };
    };
  }
}

function descriptorOf({ digest, mediaType, bytes }: StoredManifest): Descriptor {
  return { digest, mediaType, size: bytes.length };
}
