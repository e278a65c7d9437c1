import type { Digest } from '../oci/digest.ts';
import type { StoredManifest } from './manifest-store.ts';

/** The manifests of the embedded store, to be looked after. */
export interface ManifestAudit {
  /** In ascending order of digests, after `after`. `manifest` undefined: what is there cannot be read. */
  listManifests(options: {
    readonly after?: Digest | undefined;
    readonly limit: number;
  }): { readonly digest: Digest; readonly manifest: StoredManifest | undefined }[];
  deleteManifest(digest: Digest): Promise<void>;
  manifestTotals(): { readonly manifests: number; readonly bytes: number };
}
