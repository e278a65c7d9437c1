import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { deferred } from '../../../src/lib/promises.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { DiskBlobAudit } from '../../../src/store/blob/audit.ts';
import { FileHasher } from '../../../src/store/part/hashing.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { openTestSpace } from '../../support/space.ts';

it('a look at a blob does not enter again what was evicted and whose file is about to go', async () => {
  const { space, index, dataDir } = await openTestSpace({ blobLimit: 1_000_000 });
  const hasher = new FileHasher();
  onTestFinished(() => hasher.close());
  const audit = new DiskBlobAudit({ dataDir, index, hasher, leases: space.leases });
  const bytes = Buffer.from('evicted');
  const digest = digestOf(bytes);
  const path = blobPath(dataDir, digest);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  const unlinked = deferred<void>();
  space.leases.announceRemoval(digest, unlinked.promise);
  const { signal } = new AbortController();
  expect(await audit.check(digest, { signal })).toBe('gone');
  expect(index.getBlob(digest)).toBeUndefined();
  unlinked.resolve();
});
