import type { Digest } from '../oci/digest.ts';
import type { Repository } from '../oci/reference.ts';

/** What refers to a manifest, as upstream told it last. */
export interface ReferrersRecord {
  /** An index. */
  readonly bytes: Buffer;
  /** When upstream told it; ms since the epoch. */
  readonly confirmedAt: number;
}

/** Lists of referrers by repository and manifest. Undefined: nothing is known, which is no claim that there are none. */
export interface ReferrersStore {
  getReferrers(repository: Repository, digest: Digest): ReferrersRecord | undefined;
  putReferrers(repository: Repository, digest: Digest, record: ReferrersRecord): Promise<void>;
  deleteReferrers(repository: Repository, digest: Digest): Promise<void>;
}
