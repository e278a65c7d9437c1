import type { Digest } from '../../oci/digest.ts';
import { IndexWriteError } from './environment.ts';
import type { IndexTables } from './tables.ts';

/** What the tables hold and how they belong together; 1 had manifests, tags, links, repositories and blobs only. */
const FORMAT = 2;
/** Entries per transaction. */
const STEP = 500;

/**
 * Brings an index of an earlier format up to this one: enters what manifests name, who links to what, and an age for
 * everything. Can be cut off at any point and run again. Resolves at once if there is nothing to do.
 */
export async function upgradeIndex(tables: IndexTables, now: () => number): Promise<void> {
  const { environment, manifests, blobs, links, tags, meta } = tables;
  if (meta.get('format') === FORMAT) return;
  const at = now();
  const steps = async <K>(
    page: (limit: number, after?: K) => K[],
    enter: (key: K) => void,
  ): Promise<void> => {
    for (let keys = page(STEP); keys.length > 0; keys = page(STEP, keys.at(-1))) {
      await environment.write(() => keys.forEach(enter));
    }
  };
  await steps(
    (limit, after?: Digest) => manifests.page(limit, after),
    (digest) => manifests.index(digest, at),
  );
  await steps(
    (limit, after?: Digest) => blobs.page(limit, after),
    (digest) => blobs.age(digest, at),
  );
  await steps(
    (limit, after?: [string, Digest]) => links.page(limit, after),
    ([repository, digest]) => links.index(repository, digest),
  );
  await steps(
    (limit, after?: [string, string]) => tags.page(limit, after),
    (key) => tags.index(key),
  );
  await environment
    .write(() => meta.put('format', FORMAT), { frees: true })
    .catch((error: unknown) => {
      // On a full disk: an index that holds nothing will have nothing to be upgraded the next time either.
      if (!(error instanceof IndexWriteError) || manifests.page(1).length > 0) throw error;
    });
}
