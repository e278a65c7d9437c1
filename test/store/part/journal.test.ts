import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { readJournal, writeJournal } from '../../../src/store/part/journal.ts';
import { smallDisk } from '../../support/small-disk.ts';

it('leaves the last note as it is, and nothing besides, when the disk has no room for the next one', async () => {
  const { dataDir } = await smallDisk(1024 * 1024, { index: 'inside' });
  const part = join(dataDir, 'part');
  const note = { digest: digestOf(Buffer.from('part')), size: 10, isSynced: true };
  await writeJournal(part, { ...note, written: [{ start: 0, end: 4 }] });
  await writeFile(join(dataDir, 'filler'), Buffer.alloc(1024 * 1024)).catch(() => undefined);
  const next = writeJournal(part, { ...note, written: [{ start: 0, end: 8 }] });
  await expect(next).rejects.toMatchObject({ code: 'ENOSPC' });
  expect((await readJournal(part))?.written).toEqual([{ start: 0, end: 4 }]);
  expect((await readdir(dataDir)).sort()).toEqual(['filler', 'part.journal']);
});
