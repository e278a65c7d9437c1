import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { systemReason } from '../lib/system-reason.ts';
import { OperationError } from '../pull/operations.ts';

/** Writes a file as a whole or not at all; `-` is standard output. Throws OperationError. */
export async function writeOutput(path: string, text: string): Promise<void> {
  if (path === '-') {
    process.stdout.write(text);
    return;
  }
  const part = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(part, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined);
    throw new OperationError('failed', `${path} cannot be written: ${systemReason(error)}`, error);
  }
}
