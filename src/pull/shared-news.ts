import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Reference, Repository } from '../oci/reference.ts';
import { descriptorOf, type ManifestStore, type StoredManifest } from '../store/manifest-store.ts';

export interface SharedNewsOptions {
  readonly store: ManifestStore;
  readonly now: () => number;
}

export interface News {
  readonly descriptor: Descriptor;
  /** Whether the repository is known to hold that. What another server says that a tag names does not prove it. */
  readonly isProven: boolean;
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

  /** Gives a function that looks whether what `reference` names has become known since about now. */
  watch(repository: Repository, reference: Reference): () => Promise<News | undefined> {
    const { store, now } = this.#options;
    const isProven = async (digest: Digest): Promise<boolean> =>
      (await store.getLink(repository, digest)) !== undefined;
    if (reference.kind === 'digest') {
      const { digest } = reference;
      return async () => {
        const manifest = await store.getManifest(digest);
        if (manifest === undefined) return undefined;
        return { descriptor: descriptorOf(manifest), isProven: await isProven(digest), manifest };
      };
    }
    const notBefore = now() - SLACK_MS;
    return async () => {
      const record = await store.getTag(repository, reference.tag, notBefore);
      if (record === undefined || record.checkedAt <= notBefore || record.failure !== undefined)
        return undefined;
      const { descriptor } = record;
      const manifest = await store.getManifest(descriptor.digest);
      return { descriptor, isProven: await isProven(descriptor.digest), manifest };
    };
  }
}
