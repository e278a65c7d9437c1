import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { systemReason } from '../lib/errors.ts';
import { visible } from '../lib/text.ts';
import { OperationError } from '../operations/protocol.ts';

/** Prints a result. Registries and bundles could put control characters of terminals into names, so these are escaped. */
export function print(text: string): void {
  process.stdout.write(visible(text));
}

/** Prints errors, notes and progress, which are no part of the result. */
export function printAside(text: string): void {
  process.stderr.write(visible(text));
}

/** Rows in padded columns, two blanks apart. */
export function table(texts: readonly (readonly string[])[]): string {
  // A cell of two lines would look like a row.
  const rows = texts.map((row) => row.map((cell) => cell.replaceAll('\n', String.raw`\n`)));
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Writes a file completely or not at all; `-` is standard output. Throws OperationError. */
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
    throw new OperationError('failed', `cannot write ${path}: ${systemReason(error)}`, error);
  }
}
