import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { diskError } from '../../../src/store/part/disk-error.ts';
import { DiskHealth } from '../../../src/store/part/disk-health.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';

it('A disk fails until every folder that failed can be written', async () => {
  const dataDir = await testFolder();
  const [missing, blocked] = [join(dataDir, 'missing'), join(dataDir, 'blocked')];
  await writeFile(blocked, '');
  const changes: (string | undefined)[] = [];
  const health = new DiskHealth(dataDir, (error) => changes.push(error?.message));
  onTestFinished(() => health.close());
  const error = diskError(Object.assign(new Error('no'), { code: 'EACCES' }), 'keeping a blob');
  health.failed(error, missing);
  health.failed(error, blocked);
  // The probe makes it, and goes on to the other one.
  await eventually(() => existsSync(missing), 'the probe');
  expect(health.isFailing).toBe(true);
  await rm(blocked);
  await eventually(() => !health.isFailing, 'the disk to work again');
  expect(changes).toEqual(['keeping a blob failed: EACCES', undefined]);
});
