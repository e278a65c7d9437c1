import { rootCertificates } from 'node:tls';
import { SETTINGS } from '../../src/config/schema.ts';
import type { Setting } from '../../src/config/fields.ts';

/** What a file of this path, which a setting names as an example, may hold. */
export function fileFor(path: string): string {
  return path.endsWith('.crt') ? (rootCertificates[0] ?? '') : 'text of a file, one line';
}

const TABLE = new Map(Object.entries<Setting>(SETTINGS));

/** The rows that must stand beside that of `key`: the first of each choice, and what they need in turn. */
export function neededBeside(key: string): readonly (readonly [key: string, setting: Setting])[] {
  const keys = new Set([key]);
  for (const each of keys) for (const needed of TABLE.get(each)?.needs?.slice(0, 1) ?? []) keys.add(needed);
  keys.delete(key);
  return [...keys].flatMap((each) => {
    const setting = TABLE.get(each);
    return setting === undefined ? [] : [[each, setting] as const];
  });
}
