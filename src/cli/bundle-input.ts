import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { SettingsError } from '../config/errors.ts';
import { systemReason } from '../lib/system-reason.ts';
import { OperationError } from '../pull/operations.ts';

const STDIN = '-';
const CHUNK_BYTES = 1024 * 1024;
const PART = /^(.*)\.(\d{3})$/;

/** A bundle as it lies in files: one, or the parts of one that was split, in order. */
export interface BundleInput {
  /** What the user calls it. */
  readonly name: string;
  readonly paths: readonly string[];
}

/**
 * The bundles that these paths name: `x.001`, `x.002` … are parts of one, `-` is the standard input. Throws
 * SettingsError if parts are missing, doubled or in another order: what a shell expands is in order.
 */
export function bundleInputs(paths: readonly string[]): BundleInput[] {
  const inputs: { name: string; paths: string[] }[] = [];
  for (const path of paths) {
    const [, whole, number] = PART.exec(path) ?? [];
    const last = inputs.at(-1);
    if (whole === undefined) inputs.push({ name: path === STDIN ? 'standard input' : path, paths: [path] });
    else if (Number(number) === 1) inputs.push({ name: whole, paths: [path] });
    else if (last?.name === whole && Number(number) === last.paths.length + 1) last.paths.push(path);
    else
      throw new SettingsError([
        `${path} is not where it belongs: name all parts in order, from ${whole}.001`,
      ]);
  }
  if (paths.filter((path) => path === STDIN).length > 1) throw new SettingsError(['- can be named once']);
  return inputs;
}

/** Throws OperationError if a file cannot be read, which it names only where there are several. */
export async function* readBundle({ paths }: BundleInput): AsyncGenerator<Buffer, void> {
  let at = '';
  try {
    // What is not there is noticed before the first part has been read for an hour.
    for (at of paths) if (at !== STDIN) await stat(at);
    for (at of paths) {
      const stream = at === STDIN ? process.stdin : createReadStream(at, { highWaterMark: CHUNK_BYTES });
      yield* stream as AsyncIterable<Buffer>;
    }
  } catch (error) {
    const which = paths.length > 1 ? `${at} ` : '';
    throw new OperationError('failed', `${which}cannot be read: ${systemReason(error)}`, error);
  }
}
