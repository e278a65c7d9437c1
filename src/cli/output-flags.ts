import { SettingsError } from '../config/errors.ts';
import type { Flags } from '../config/flags.ts';
import { STDOUT } from './stream-output.ts';

/** Where `-o` says that something goes. Throws SettingsError. */
export function outputOf(flags: Flags): string {
  const path = flags['output'];
  if (typeof path !== 'string' || path === '') {
    throw new SettingsError(['-o is missing: the file to write, or - for the standard output']);
  }
  if (path === STDOUT && process.stdout.isTTY) {
    throw new SettingsError(['-o -: what is written is not for a terminal; pipe it into something']);
  }
  return path;
}
